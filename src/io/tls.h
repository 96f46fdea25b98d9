/* TLS as a client (1.2 and later), memory only: bytes of the network in,
 * plain bytes out, and the other way round. The only file that knows OpenSSL.
 *
 * The peer's chain is verified against the given authorities, and its
 * certificate against the host (RFC 6125: DNS name or IP address). */
#pragma once

#include "base/err.h"
#include "base/slice.h"

/* The authorities; one for many connections. Costs megabytes with the system's: made only where TLS is spoken. */
struct tls_context;

/* ca_file: PEM, trusted instead of the system's authorities; NULL or empty: those. -errno with the sentence (exit code
 * EXIT_CODE_CONFIG) when it cannot be read or holds no certificate. Free with tls_context_free. */
int tls_context_new(const char *ca_file, struct err *e, struct tls_context **ret);
void tls_context_free(struct tls_context *c);

struct tls;

enum tls_outcome {
	TLS_AGAIN = 1, /* more bytes of the network are needed */
	TLS_END,       /* the peer ended the session properly (close_notify) */
	TLS_BAD,       /* broken for good: tls_error says how */
	TLS_UNTRUSTED, /* the certificate is not good for this host: tls_error says why */
};

/* host as in ws_client_options. Free with tls_free; the context outlives it. */
struct tls *tls_new(const struct tls_context *c, const char *host);
void tls_free(struct tls *t);

/* Takes bytes that came from the network. */
void tls_feed(struct tls *t, struct slice cipher);

/* Goes on with the handshake: 0 when it is done, else enum tls_outcome. Also on failure there may be an alert to send
 * (tls_out). */
int tls_handshake(struct tls *t);

/* Plain bytes: 0 with *ret_n > 0, else enum tls_outcome. */
int tls_read(struct tls *t, void *to, size_t room, size_t *ret_n);

/* Encrypts. 0 or TLS_BAD. After the handshake only. */
int tls_write(struct tls *t, struct slice plain);

/* What is to be sent to the network now; dies with the next call. tls_out_drop when it was. */
struct slice tls_out(const struct tls *t);
void tls_out_drop(struct tls *t);

/* After TLS_BAD or TLS_UNTRUSTED: what was wrong; lives as long as t. Begins in lower case and fits behind "HOST: ". */
const char *tls_error(const struct tls *t);
