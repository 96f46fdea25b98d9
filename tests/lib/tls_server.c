#include "lib/tls_server.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

static X509 *certificate(EVP_PKEY *key, const char *name, long from_s, long to_s)
{
	static long serial = 1;
	X509 *x = X509_new();
	CHECK(x != NULL && X509_set_version(x, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), serial++) == 1);
	CHECK(X509_gmtime_adj(X509_getm_notBefore(x), from_s) != NULL);
	CHECK(X509_gmtime_adj(X509_getm_notAfter(x), to_s) != NULL);
	CHECK(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
					 -1, 0) == 1);
	CHECK(X509_set_pubkey(x, key) == 1);
	return x;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	CHECK(e != NULL && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

void tls_ca_init(struct tls_ca *ca, const char *name)
{
	*ca = (struct tls_ca){.key = EVP_EC_gen("P-256")};
	CHECK(ca->key != NULL);
	ca->cert = certificate(ca->key, name, -3600, 3600);
	CHECK(X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert)) == 1);
	extend(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	extend(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	CHECK(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
	(void)snprintf(ca->file, sizeof(ca->file), "/tmp/runnerd-test-ca-XXXXXX");
	int fd = mkstemp(ca->file);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	CHECK(f != NULL && PEM_write_X509(f, ca->cert) == 1 && fclose(f) == 0);
}

void tls_ca_done(struct tls_ca *ca)
{
	unlink(ca->file);
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

SSL_CTX *tls_ca_server(struct tls_ca *ca, const char *names, long from_s, long to_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	CHECK(key != NULL);
	X509 *x = certificate(key, "an engine", from_s, to_s);
	CHECK(X509_set_issuer_name(x, X509_get_subject_name(ca->cert)) == 1);
	extend(x, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
	extend(x, ca->cert, NID_subject_alt_name, names);
	CHECK(X509_sign(x, ca->key, EVP_sha256()) > 0);
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	CHECK(ctx != NULL && SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
	X509_free(x);
	EVP_PKEY_free(key);
	return ctx;
}
