/* Owns one OpenSSL session over two memory BIOs: `in` holds what came from the
 * network, `out` what is to go there.
 *
 * Happy path: tls_handshake until 0, then tls_read and tls_write. Failures
 * leave a sentence in `error`: a certificate that is not good is judged by
 * on_verify, which sees which certificate of the chain it is and why; bytes
 * that are no TLS at all are found by their first byte, before OpenSSL says
 * "wrong version number". */
#include "io/tls.h"

#include "io/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#define RECORD_ALERT 21 /* RFC 8446 5.1 */
#define RECORD_HANDSHAKE 22
#define NAMES_SHOWN 8

struct tls_context {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	BIO *in, *out; /* the session's */
	char *host;
	bool begun;     /* a byte of the peer has been seen */
	bool not_tls;   /* and it was none of TLS */
	bool untrusted; /* on_verify has written `error` */
	char error[768];
};

/* ---- what is wrong with a certificate ---- */

/* What was printed to a memory BIO, cut to the buffer. */
static void take_text(BIO *b, char *to, size_t room)
{
	int n = BIO_read(b, to, (int)room - 1);
	to[n < 0 ? 0 : n] = '\0';
	BIO_free(b);
}

static void name_text(const X509_NAME *name, char *to, size_t room)
{
	BIO *b = BIO_new(BIO_s_mem());
	CHECK(b != NULL);
	(void)X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	take_text(b, to, room);
}

static void time_text(const ASN1_TIME *t, char *to, size_t room)
{
	BIO *b = BIO_new(BIO_s_mem());
	CHECK(b != NULL);
	(void)ASN1_TIME_print(b, t);
	take_text(b, to, room);
}

static void put_alt_name(BIO *b, const GENERAL_NAME *name)
{
	char text[INET6_ADDRSTRLEN];
	if (name->type == GEN_DNS) {
		BIO_printf(b, "%.*s", ASN1_STRING_length(name->d.dNSName),
			   (const char *)ASN1_STRING_get0_data(name->d.dNSName));
	} else if (name->type == GEN_IPADD) {
		int n = ASN1_STRING_length(name->d.iPAddress);
		const unsigned char *ip = ASN1_STRING_get0_data(name->d.iPAddress);
		if ((n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6, ip, text, sizeof(text)) != NULL)
			BIO_puts(b, text);
	} else {
		BIO_puts(b, "something else");
	}
}

/* The names a certificate is good for. */
static void alt_names_text(const X509 *cert, char *to, size_t room)
{
	BIO *b = BIO_new(BIO_s_mem());
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	CHECK(b != NULL);
	int n = names == NULL ? 0 : sk_GENERAL_NAME_num(names);
	for (int i = 0; i < n && i < NAMES_SHOWN; i++) {
		BIO_puts(b, i == 0 ? "" : ", ");
		put_alt_name(b, sk_GENERAL_NAME_value(names, i));
	}
	if (n > NAMES_SHOWN)
		BIO_printf(b, " and %d more", n - NAMES_SHOWN);
	if (n == 0)
		BIO_puts(b, "no name at all");
	GENERAL_NAMES_free(names);
	take_text(b, to, room);
}

static void judge_certificate(struct tls *t, const X509 *cert, int depth, int error)
{
	char subject[160], issuer[160], more[256];
	const char *whose = depth == 0 ? "its certificate" : "a certificate it shows, of an authority";
	name_text(X509_get_subject_name(cert), subject, sizeof(subject));
	name_text(X509_get_issuer_name(cert), issuer, sizeof(issuer));
	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		alt_names_text(cert, more, sizeof(more));
		(void)snprintf(t->error, sizeof(t->error), "its certificate is for %s, not for %s", more, t->host);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		time_text(X509_get0_notAfter(cert), more, sizeof(more));
		(void)snprintf(t->error, sizeof(t->error), "%s (%s) has expired on %s", whose, subject, more);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		time_text(X509_get0_notBefore(cert), more, sizeof(more));
		(void)snprintf(t->error, sizeof(t->error),
			       "%s (%s) is not valid before %s; is the clock of this machine right?", whose, subject,
			       more);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		(void)snprintf(t->error, sizeof(t->error),
			       "%s (%s, issued by %s) is of no authority that is trusted here: %s", whose, subject,
			       issuer, X509_verify_cert_error_string(error));
		break;
	default:
		(void)snprintf(t->error, sizeof(t->error), "%s (%s) is not good: %s", whose, subject,
			       X509_verify_cert_error_string(error));
		break;
	}
}

static int on_verify(int good, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);
	const X509 *cert = X509_STORE_CTX_get_current_cert(store);
	if (!good && !t->untrusted && cert != NULL) {
		t->untrusted = true;
		judge_certificate(t, cert, X509_STORE_CTX_get_error_depth(store), X509_STORE_CTX_get_error(store));
	}
	return good;
}

/* ---- the authorities ---- */

static int load_authorities(SSL_CTX *ctx, const char *ca_file, struct err *e)
{
	if (ca_file == NULL || *ca_file == '\0') {
		if (SSL_CTX_set_default_verify_paths(ctx) == 1)
			return 0;
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "cannot load the system's certificate authorities; install ca-certificates or name a "
			       "file with --engine-ca");
	}
	if (access(ca_file, R_OK) < 0)
		return err_set(e, errno, EXIT_CODE_CONFIG, "cannot read the file of certificate authorities %s: %s",
			       ca_file, strerror(errno));
	if (SSL_CTX_load_verify_file(ctx, ca_file) != 1)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "the file of certificate authorities %s holds no certificate in PEM form", ca_file);
	/* What the file lists is trusted as it is: an authority, one below it, or the engine's own certificate. */
	CHECK(X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN) == 1);
	return 0;
}

int tls_context_new(const char *ca_file, struct err *e, struct tls_context **ret)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	CHECK(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
	int r = load_authorities(ctx, ca_file, e);
	ERR_clear_error();
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	struct tls_context *c = mem_zalloc(sizeof(*c));
	c->ctx = ctx;
	*ret = c;
	return 0;
}

void tls_context_free(struct tls_context *c)
{
	if (c == NULL)
		return;
	SSL_CTX_free(c->ctx);
	mem_free(c);
}

/* ---- one session ---- */

struct tls *tls_new(const struct tls_context *c, const char *host)
{
	struct tls *t = mem_zalloc(sizeof(*t));
	t->ssl = SSL_new(c->ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	t->host = mem_strdup(host);
	CHECK(t->ssl != NULL && t->in != NULL && t->out != NULL);
	SSL_set_bio(t->ssl, t->in, t->out);
	SSL_set_app_data(t->ssl, t);
	SSL_set_connect_state(t->ssl);
	SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (resolve_is_address(host)) {
		CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host) == 1);
	} else {
		CHECK(SSL_set1_host(t->ssl, host) == 1);
		CHECK(SSL_set_tlsext_host_name(t->ssl, t->host) == 1);
	}
	return t;
}

void tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl); /* and both BIOs */
	mem_free(t->host);
	mem_free(t);
}

void tls_feed(struct tls *t, struct slice cipher)
{
	if (cipher.n == 0)
		return;
	if (!t->begun) {
		t->begun = true;
		t->not_tls = cipher.p[0] != RECORD_HANDSHAKE && cipher.p[0] != RECORD_ALERT;
	}
	CHECK(BIO_write(t->in, cipher.p, (int)cipher.n) == (int)cipher.n);
}

/* What a call that did not succeed came to. */
static int outcome(struct tls *t, int r, const char *what)
{
	int error = SSL_get_error(t->ssl, r);
	unsigned long code = ERR_get_error();
	ERR_clear_error();
	if (error == SSL_ERROR_WANT_READ)
		return TLS_AGAIN;
	if (error == SSL_ERROR_ZERO_RETURN)
		return TLS_END;
	if (t->untrusted)
		return TLS_UNTRUSTED;
	const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
	(void)snprintf(t->error, sizeof(t->error), "%s: %s", what, reason == NULL ? "unknown error" : reason);
	return TLS_BAD;
}

int tls_handshake(struct tls *t)
{
	if (t->not_tls) {
		(void)snprintf(t->error, sizeof(t->error), "what answers there does not speak TLS; is it http?");
		return TLS_BAD;
	}
	ERR_clear_error();
	int r = SSL_do_handshake(t->ssl);
	if (r == 1)
		return 0;
	r = outcome(t, r, "the TLS handshake failed");
	if (r == TLS_END) {
		(void)snprintf(t->error, sizeof(t->error), "the peer ended the TLS handshake");
		return TLS_BAD;
	}
	return r;
}

int tls_read(struct tls *t, void *to, size_t room, size_t *ret_n)
{
	ERR_clear_error();
	int r = SSL_read_ex(t->ssl, to, room, ret_n);
	return r == 1 ? 0 : outcome(t, r, "the TLS session broke");
}

int tls_write(struct tls *t, struct slice plain)
{
	size_t n;
	if (plain.n == 0)
		return 0;
	ERR_clear_error();
	int r = SSL_write_ex(t->ssl, plain.p, plain.n, &n);
	if (r == 1)
		return 0;
	(void)outcome(t, r, "the TLS session broke");
	return TLS_BAD;
}

struct slice tls_out(const struct tls *t)
{
	char *p = NULL;
	long n = BIO_get_mem_data(t->out, &p);
	return slice_of(p, n < 0 ? 0 : (size_t)n);
}

void tls_out_drop(struct tls *t)
{
	(void)BIO_reset(t->out);
}

const char *tls_error(const struct tls *t)
{
	return t->error;
}
