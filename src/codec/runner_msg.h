/* Messages of runner protocol v7, both directions (sections 2.3 and 2.4 of its page).
 *
 * A frame of the WebSocket is one message. Decoding checks the whole message,
 * takes no memory and gives a struct whose slices point into the frame; it lives
 * as long as the frame does. Lists and maps are checked whole too, and read
 * element by element with a runner_walk. Bytes behind the message are ignored, as
 * the engine ignores them.
 *
 * Encoding appends to a buf. A list to be sent is encoded elements in a buf of
 * the caller, in the very form in which a decoded one is kept:
 *
 *     struct buf elements;                       // buf_init, buf_done: the caller's
 *     size_t n = 0;
 *     for (...)
 *             if (runner_pair_put(&elements, name, value) == 0)
 *                     n++;
 *     message.headers = runner_list_of(buf_slice(&elements), n);
 *
 * Every function that returns int gives 0 or an enum bare_outcome; *_put leaves
 * the buf as it was when it fails. */
#pragma once

#include "codec/bare.h"

#define RUNNER_PROTOCOL_VERSION 7

/* ---- what both directions share ---- */

struct runner_list {
	struct slice bytes; /* encoded elements, without the count */
	size_t count;
};

static inline struct runner_list runner_list_of(struct slice bytes, size_t count)
{
	return (struct runner_list){.bytes = bytes, .count = count};
}

/* Reads a list of a decoded message once from front to back. */
struct runner_walk {
	struct bare_reader r;
	size_t left;
};

struct runner_walk runner_walk_of(struct runner_list list);

struct runner_checkpoint {
	struct slice actor_id;
	uint32_t generation;
	int64_t index;
};

struct runner_message_id {
	uint8_t gateway[4];
	uint8_t request[4];
	uint16_t index;
};

/* One hibernating WebSocket. */
struct runner_socket_id {
	uint8_t gateway[4];
	uint8_t request[4];
};

struct runner_kv_metadata {
	struct slice version;
	int64_t update_ms;
};

/* Elements. next: false at the end of the list, *ret untouched. put: appends one element.
 * pair: map<str, str>, which is also the form of the actor names (name, metadata); bytes: list<data>. */
bool runner_checkpoint_next(struct runner_walk *w, struct runner_checkpoint *ret);
bool runner_pair_next(struct runner_walk *w, struct slice *ret_key, struct slice *ret_value);
bool runner_bytes_next(struct runner_walk *w, struct slice *ret);
bool runner_socket_id_next(struct runner_walk *w, struct runner_socket_id *ret);
bool runner_kv_metadata_next(struct runner_walk *w, struct runner_kv_metadata *ret);
MUST_CHECK int runner_checkpoint_put(struct buf *elements, const struct runner_checkpoint *c);
MUST_CHECK int runner_pair_put(struct buf *elements, struct slice key, struct slice value);
MUST_CHECK int runner_bytes_put(struct buf *elements, struct slice bytes);
MUST_CHECK int runner_socket_id_put(struct buf *elements, const struct runner_socket_id *id);
MUST_CHECK int runner_kv_metadata_put(struct buf *elements, const struct runner_kv_metadata *m);

/* ---- runner to engine: ToServer ---- */

enum runner_to_server_tag {
	RUNNER_TO_SERVER_INIT,
	RUNNER_TO_SERVER_EVENTS,
	RUNNER_TO_SERVER_ACK_COMMANDS,
	RUNNER_TO_SERVER_STOPPING,
	RUNNER_TO_SERVER_PONG,
	RUNNER_TO_SERVER_KV_REQUEST,
	RUNNER_TO_SERVER_TUNNEL,
	RUNNER_TO_SERVER_TAGS
};

struct runner_init {
	struct slice name;
	uint32_t version;
	uint32_t total_slots; /* the engine wants 1 to 4 294 967; not checked here */
	bool has_actor_names, has_metadata;
	struct runner_list actor_names; /* pairs: name, JSON object text */
	struct slice metadata;          /* JSON object text */
};

/* Event with the union ActorIntent or ActorState inside it flattened: five kinds. */
enum runner_event_kind {
	RUNNER_EVENT_SLEEP,   /* EventActorIntent, ActorIntentSleep */
	RUNNER_EVENT_STOP,    /* EventActorIntent, ActorIntentStop */
	RUNNER_EVENT_RUNNING, /* EventActorStateUpdate, ActorStateRunning */
	RUNNER_EVENT_STOPPED, /* EventActorStateUpdate, ActorStateStopped */
	RUNNER_EVENT_ALARM,   /* EventActorSetAlarm */
};

enum runner_stop_code { RUNNER_STOP_OK, RUNNER_STOP_ERROR };

struct runner_event {
	struct runner_checkpoint checkpoint;
	enum runner_event_kind kind;
	enum runner_stop_code code; /* STOPPED */
	bool has_message;           /* STOPPED */
	bool has_alarm;             /* ALARM: false clears it */
	struct slice message;
	int64_t alarm_wall_ms;
};

/* Element of RUNNER_TO_SERVER_EVENTS. */
bool runner_event_next(struct runner_walk *w, struct runner_event *ret);
MUST_CHECK int runner_event_put(struct buf *elements, const struct runner_event *e);

enum runner_kv_op {
	RUNNER_KV_GET,
	RUNNER_KV_LIST,
	RUNNER_KV_PUT,
	RUNNER_KV_DELETE,
	RUNNER_KV_DELETE_RANGE,
	RUNNER_KV_DROP,
	RUNNER_KV_OPS
};

enum runner_kv_query { RUNNER_KV_ALL, RUNNER_KV_RANGE, RUNNER_KV_PREFIX, RUNNER_KV_QUERIES };

struct runner_kv_request {
	struct slice actor_id;
	uint32_t request_id;
	enum runner_kv_op op;
	struct runner_list keys;    /* GET, PUT, DELETE: bytes */
	struct runner_list values;  /* PUT: bytes; decoding does not compare the counts */
	enum runner_kv_query query; /* LIST */
	struct slice start, end;    /* DELETE_RANGE, LIST by range; a prefix is in start */
	bool exclusive;             /* LIST by range */
	bool has_reverse, reverse;  /* LIST */
	bool has_limit;             /* LIST */
	uint64_t limit;
};

enum runner_up_kind {
	RUNNER_UP_RESPONSE_START,
	RUNNER_UP_RESPONSE_CHUNK,
	RUNNER_UP_RESPONSE_ABORT,
	RUNNER_UP_WS_OPEN,
	RUNNER_UP_WS_MESSAGE,
	RUNNER_UP_WS_ACK,
	RUNNER_UP_WS_CLOSE,
	RUNNER_UP_KINDS
};

/* The kind of an encoded ToServerTunnelMessage without decoding it; RUNNER_UP_KINDS: the frame is none. */
enum runner_up_kind runner_up_kind_of(struct slice frame);

/* ToServerTunnelMessage. Payloads over 20 MiB end the whole connection: the sender's business. */
struct runner_tunnel_up {
	struct runner_message_id id;
	enum runner_up_kind kind;
	union {
		struct {
			uint16_t status;
			bool has_body, stream;
			struct runner_list headers; /* pairs */
			struct slice body;
		} response;
		struct {
			struct slice body;
			bool finish;
		} chunk;
		bool can_hibernate; /* WS_OPEN */
		struct {
			struct slice data;
			bool binary;
		} message;
		uint16_t ack_index; /* WS_ACK */
		struct {
			bool has_code, has_reason, hibernate;
			uint16_t code;
			struct slice reason;
		} close;
	};
};

struct runner_to_server {
	enum runner_to_server_tag tag;
	union {
		struct runner_init init;
		struct runner_list events;   /* runner_event_next */
		struct runner_list commands; /* ACK_COMMANDS: runner_checkpoint_next */
		int64_t pong_ts;             /* as the ping had it */
		struct runner_kv_request kv;
		struct runner_tunnel_up tunnel;
	};
};

/* *ret is written in either case, but means something only with 0. */
MUST_CHECK int runner_to_server_decode(struct slice frame, struct runner_to_server *ret);
MUST_CHECK int runner_to_server_put(struct buf *out, const struct runner_to_server *m);

/* ---- engine to runner: ToClient ---- */

enum runner_to_client_tag {
	RUNNER_TO_CLIENT_INIT,
	RUNNER_TO_CLIENT_COMMANDS,
	RUNNER_TO_CLIENT_ACK_EVENTS,
	RUNNER_TO_CLIENT_KV_RESPONSE,
	RUNNER_TO_CLIENT_TUNNEL,
	RUNNER_TO_CLIENT_PING,
	RUNNER_TO_CLIENT_TAGS
};

/* ToClientInit. Times in ms, any number: check before use. */
struct runner_welcome {
	struct slice runner_id;
	int64_t lost_threshold_ms;
	int64_t stop_threshold_ms;
	bool has_drain_grace;
	int64_t drain_grace_ms;
};

enum runner_command_kind { RUNNER_COMMAND_START, RUNNER_COMMAND_STOP, RUNNER_COMMAND_KINDS };

struct runner_command {
	struct runner_checkpoint checkpoint;
	enum runner_command_kind kind;
	/* START only. */
	struct slice name;
	bool has_key, has_input;
	struct slice key;
	struct slice input;
	int64_t create_ms;          /* of this generation */
	struct runner_list sockets; /* hibernating: runner_socket_id_next */
};

/* Element of RUNNER_TO_CLIENT_COMMANDS. */
bool runner_command_next(struct runner_walk *w, struct runner_command *ret);
MUST_CHECK int runner_command_put(struct buf *elements, const struct runner_command *c);

enum runner_kv_answer {
	RUNNER_KV_ANSWER_ERROR,
	RUNNER_KV_ANSWER_GET,
	RUNNER_KV_ANSWER_LIST,
	RUNNER_KV_ANSWER_PUT,
	RUNNER_KV_ANSWER_DELETE, /* also of DELETE_RANGE */
	RUNNER_KV_ANSWER_DROP,
	RUNNER_KV_ANSWERS
};

struct runner_kv_response {
	uint32_t request_id;
	enum runner_kv_answer answer;
	struct slice error;        /* ERROR: the engine's words */
	struct runner_list keys;   /* GET, LIST: bytes; the three are parallel, decoding does not compare the counts */
	struct runner_list values; /* bytes */
	struct runner_list metadata; /* runner_kv_metadata_next */
};

enum runner_down_kind {
	RUNNER_DOWN_REQUEST_START,
	RUNNER_DOWN_REQUEST_CHUNK,
	RUNNER_DOWN_REQUEST_ABORT,
	RUNNER_DOWN_WS_OPEN,
	RUNNER_DOWN_WS_MESSAGE,
	RUNNER_DOWN_WS_CLOSE,
	RUNNER_DOWN_KINDS
};

/* ToClientTunnelMessage. */
struct runner_tunnel_down {
	struct runner_message_id id;
	enum runner_down_kind kind;
	union {
		struct {
			struct slice actor_id;
			struct slice method;
			struct slice path;
			struct runner_list headers; /* pairs */
			bool has_body, stream;
			struct slice body;
		} request;
		struct {
			struct slice body;
			bool finish;
		} chunk;
		struct {
			struct slice actor_id;
			struct slice path;
			struct runner_list headers; /* pairs */
		} open;
		struct {
			struct slice data;
			bool binary;
		} message;
		struct {
			bool has_code, has_reason;
			uint16_t code;
			struct slice reason;
		} close;
	};
};

struct runner_to_client {
	enum runner_to_client_tag tag;
	union {
		struct runner_welcome init;
		struct runner_list commands; /* runner_command_next */
		struct runner_list events;   /* ACK_EVENTS: runner_checkpoint_next */
		struct runner_kv_response kv;
		struct runner_tunnel_down tunnel;
		int64_t ping_ts;
	};
};

/* *ret is written in either case, but means something only with 0. */
MUST_CHECK int runner_to_client_decode(struct slice frame, struct runner_to_client *ret);
/* For those who play the engine. */
MUST_CHECK int runner_to_client_put(struct buf *out, const struct runner_to_client *m);
