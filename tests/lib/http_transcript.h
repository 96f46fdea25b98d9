/* What an http_parser makes of an input, as text: the same text for every way
 * the input may be cut and paused, so tests compare texts. */
#pragma once

#include "codec/http_head.h"

struct http_transcript_ask {
	enum http_kind kind;
	size_t target_max;
	bool head_request, upgrade_asked;
	bool pause;  /* at every event */
	bool fields; /* show them */
};

/* Feeds `in` in a first piece of `first` bytes and further ones of `then` bytes, message after message, and ends the
 * connection. Appends to out, in order: each head ("GET /x 1.1 len=3 keep;"), body ("body abc;"), "done;", and at last
 * one of "bad 400;", "upgraded+2;" (raw bytes left), "eof;" (between messages), "eof done;". CHECKs what the interface
 * promises. */
void http_transcript(const struct http_transcript_ask *ask, struct slice in, size_t first, size_t then,
		     struct buf *out);
