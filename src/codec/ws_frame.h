/* WebSocket frames and handshake (RFC 6455), memory only.
 *
 * Local mode passes frames through unchanged and only tracks where they begin
 * and end (ws_tracker); engine mode and refusals build frames (ws_put_*) and
 * read messages (ws_reader). Extensions are never negotiated. */
#pragma once

#include "base/buf.h"
#include "base/limits.h"

enum ws_opcode {
	WS_CONTINUATION = 0,
	WS_TEXT = 1,
	WS_BINARY = 2,
	WS_CLOSE = 8,
	WS_PING = 9,
	WS_PONG = 10,
};

/* Close codes (RFC 6455 7.4.1). */
enum ws_close_code {
	WS_CLOSE_NORMAL = 1000,
	WS_CLOSE_GOING_AWAY = 1001,
	WS_CLOSE_PROTOCOL = 1002,
	WS_CLOSE_NONE = 1005,
	WS_CLOSE_ABNORMAL = 1006,
	WS_CLOSE_BAD_DATA = 1007,
	WS_CLOSE_POLICY = 1008,
	WS_CLOSE_TOO_BIG = 1009,
	WS_CLOSE_ERROR = 1011,
	WS_CLOSE_RESTART = 1012,
	WS_CLOSE_TRY_LATER = 1013,
};

#define WS_REASON_MAX 123

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key: 28 characters and NUL. */
void ws_accept(struct slice key, char ret[29]);

/* A fresh Sec-WebSocket-Key: 24 characters and NUL. */
void ws_key(char ret[25]);

/* Appends one whole frame. masked: as a client must send (fresh random mask). */
void ws_put_frame(struct buf *out, enum ws_opcode op, bool fin, bool masked, struct slice payload);

/* Appends a close frame; the reason is cut to WS_REASON_MAX bytes at a character boundary.
 * code WS_CLOSE_NONE gives an empty payload. */
void ws_put_close(struct buf *out, unsigned code, struct slice reason, bool masked);

/* Follows a byte stream frame by frame without copying it. */
struct ws_tracker {
	bool want_mask;   /* true: bytes of a client */
	bool in_message;  /* between the first and the last frame of a fragmented message */
	bool close_seen;  /* a whole close frame has passed */
	uint8_t broken;   /* enum ws_outcome, once there was one: the outcome of every later feed */
	uint8_t head[14]; /* header bytes gathered so far */
	uint8_t head_have, head_need;
	uint8_t opcode; /* of the current frame */
	bool fin;
	uint64_t left; /* payload bytes of the current frame still to come */
	uint64_t message_bytes;
	uint8_t close_payload[125]; /* unmasked, of the close frame */
	uint8_t close_len;
	uint32_t mask_at;
};

enum ws_outcome {
	WS_BAD =
	    1, /* reserved bits, unknown opcode, wrong masking, broken fragmentation, bad control frame: close 1002 */
	WS_TOO_BIG,  /* over LIMIT_WS_MESSAGE_BYTES: close 1009 */
	WS_BAD_TEXT, /* ws_reader: text that is not UTF-8: close 1007 */
};

void ws_tracker_init(struct ws_tracker *t, bool want_mask);

/* Consumes all of `in`, or stops behind the close frame. 0 or enum ws_outcome; *ret_used is the length up to which
 * the bytes are good and may be forwarded: all of them on 0, until and with a close frame when one ended, whole frames
 * before the broken one otherwise. After a close frame: 0 with nothing used. */
int ws_tracker_feed(struct ws_tracker *t, struct slice in, size_t *ret_used);

/* True when a frame of ours may be inserted here: no frame is half passed. */
bool ws_tracker_at_boundary(const struct ws_tracker *t);

/* After close_seen: code (WS_CLOSE_NONE when the frame had none) and reason. */
unsigned ws_tracker_close(const struct ws_tracker *t, struct slice *ret_reason);

/* Reads whole messages out of a byte stream: defragments, unmasks, checks UTF-8 of text and close reasons. */
struct ws_reader;
struct ws_reader_events {
	void (*message)(void *arg, bool binary, struct slice payload);
	void (*ping)(void *arg, struct slice payload);
	void (*pong)(void *arg, struct slice payload);
	void (*close)(void *arg, unsigned code, struct slice reason); /* the last event */
};
struct ws_reader *ws_reader_new(bool want_mask, size_t message_max, const struct ws_reader_events *events, void *arg);
void ws_reader_free(struct ws_reader *r);
/* 0 or enum ws_outcome, which stays. What follows a close frame is ignored. No event may feed or free the reader. */
int ws_reader_feed(struct ws_reader *r, struct slice in);

/* True when s is well-formed UTF-8 (RFC 3629). */
bool ws_utf8_valid(struct slice s);
