/* malloc with one outcome. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
	if (p == NULL)
		check_failed(__FILE__, __LINE__, "out of memory");
	return p;
}

void *mem_zalloc(size_t n)
{
	CHECK(n > 0);
	return must(calloc(1, n));
}

void *mem_alloc(size_t n)
{
	CHECK(n > 0);
	return must(malloc(n));
}

void *mem_realloc(void *p, size_t n)
{
	CHECK(n > 0);
	return must(realloc(p, n));
}

char *mem_strdup(const char *s)
{
	return s == NULL ? NULL : must(strdup(s));
}

char *mem_strndup(const char *s, size_t n)
{
	return must(strndup(s, n));
}

char *mem_printf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return must(n < 0 ? NULL : s);
}

void mem_free(void *p)
{
	free(p);
}

void mem_cleanup(void *pp)
{
	void **slot = pp;
	free(*slot);
	*slot = NULL;
}
