/* A throw-away certificate authority, servers' certificates of it, and the
 * server's side of a TLS session on a non-blocking socket. */
#pragma once

#include "base/slice.h"

#include <openssl/ssl.h>

struct tls_ca {
	EVP_PKEY *key;
	X509 *cert;
	char file[64]; /* its certificate, PEM */
};

void tls_ca_init(struct tls_ca *ca, const char *name);
void tls_ca_done(struct tls_ca *ca);

/* A server's context with a fresh certificate: names as in "DNS:localhost,IP:127.0.0.1"; valid from now + from_s to now
 * + to_s. Free with SSL_CTX_free. */
SSL_CTX *tls_ca_server(struct tls_ca *ca, const char *names, long from_s, long to_s);
