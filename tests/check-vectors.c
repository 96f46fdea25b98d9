/* Holds the codec of the runner protocol against recorded messages, byte for byte.
 *
 *     check-vectors [FILE]       (tests/data/runner-v7-vectors.json)
 *
 * FILE is a JSON array of {"direction", "name", "version", "hex", "json"}: each message is decoded and compared with
 * its JSON, built from its JSON and compared with its bytes. Exit code 0, or 1 with the first difference on stdout. */
#include "lib/runner_json.h"

#include <stdio.h>
#include <stdlib.h>

#define BYTES_MAX ((size_t)256 * 1024 * 1024)

static void say(const char *name, const char *what, const char *is, const char *want)
{
	printf("%s: %s\n  is   %s\n  want %s\n", name, what, is, want);
}

static bool check_decoding(const char *name, bool to_server, struct slice frame, const json_t *want)
{
	int outcome;
	json_t *is = runner_json_of(to_server, frame, &outcome);
	if (is == NULL) {
		printf("%s: cannot be decoded: %s\n", name, bare_why(outcome));
		return false;
	}
	bool same = json_equal(is, want) == 1;
	if (!same) {
		char *is_text = json_dumps(is, JSON_COMPACT), *want_text = json_dumps(want, JSON_COMPACT);
		say(name, "decoded value", is_text, want_text);
		free(is_text);
		free(want_text);
	}
	json_decref(is);
	return same;
}

static bool check_encoding(const char *name, bool to_server, struct slice want, const json_t *value)
{
	struct buf out, is_hex, want_hex;
	const char *why;
	buf_init(&out, BYTES_MAX);
	bool built = runner_json_put(to_server, value, &out, &why);
	bool same = built && slice_eq(buf_slice(&out), want);
	if (!built)
		printf("%s: cannot be encoded: %s\n", name, why);
	if (built && !same) {
		buf_init(&is_hex, BYTES_MAX);
		buf_init(&want_hex, BYTES_MAX);
		runner_json_hex(buf_slice(&out), &is_hex);
		runner_json_hex(want, &want_hex);
		say(name, "encoded bytes", buf_text(&is_hex), buf_text(&want_hex));
		buf_done(&is_hex);
		buf_done(&want_hex);
	}
	buf_done(&out);
	return same;
}

static bool check(size_t at, const json_t *vector)
{
	const char *name = json_string_value(json_object_get(vector, "name"));
	const char *direction = json_string_value(json_object_get(vector, "direction"));
	const char *hex = json_string_value(json_object_get(vector, "hex"));
	const json_t *value = json_object_get(vector, "json");
	const json_t *version = json_object_get(vector, "version");
	struct buf frame;
	if (name == NULL || direction == NULL || hex == NULL || value == NULL ||
	    (strcmp(direction, "ToServer") != 0 && strcmp(direction, "ToClient") != 0)) {
		printf("vector %zu: name, direction, hex or json is missing or of the wrong form\n", at);
		return false;
	}
	if (json_integer_value(version) != RUNNER_PROTOCOL_VERSION) {
		printf("%s: is not of version %d\n", name, RUNNER_PROTOCOL_VERSION);
		return false;
	}
	bool to_server = strcmp(direction, "ToServer") == 0;
	buf_init(&frame, BYTES_MAX);
	bool good = runner_json_unhex(hex, &frame);
	if (!good)
		printf("%s: hex is none\n", name);
	good = good && check_decoding(name, to_server, buf_slice(&frame), value) &&
	       check_encoding(name, to_server, buf_slice(&frame), value);
	buf_done(&frame);
	return good;
}

int main(int argc, char **argv)
{
	const char *file = argc > 1 ? argv[1] : "tests/data/runner-v7-vectors.json";
	json_error_t why;
	json_t *vectors = json_load_file(file, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
	if (!json_is_array(vectors)) {
		printf("%s: no JSON array: %s\n", file, vectors == NULL ? why.text : "another value");
		json_decref(vectors);
		return 1;
	}
	size_t n = json_array_size(vectors), good = 0;
	while (good < n && check(good, json_array_get(vectors, good)))
		good++;
	if (good == n)
		printf("%s: %zu messages agree\n", file, n);
	json_decref(vectors);
	return good == n ? 0 : 1;
}
