/* Runs a fuzzer's function over the files given, so that every corpus file is a test without libFuzzer too. */
#include "base/mem.h"
#include "fuzz/fuzz.h"

#include <stdio.h>

#define FILE_MAX ((size_t)1024 * 1024)

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (file == NULL) {
			perror(argv[i]);
			return 1;
		}
		uint8_t *bytes = mem_alloc(FILE_MAX);
		size_t n = fread(bytes, 1, FILE_MAX, file);
		fclose(file);
		/* To its exact size, so that a sanitizer sees a read past the end. */
		bytes = mem_realloc(bytes, n > 0 ? n : 1);
		(void)LLVMFuzzerTestOneInput(bytes, n);
		mem_free(bytes);
	}
	return argc > 1 ? 0 : 1;
}
