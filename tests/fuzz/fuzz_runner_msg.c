/* Runner protocol. First byte: 1 for a message to the engine, else to a runner; the rest is a frame. Properties:
 * - a message that decodes, built anew element by element, is not longer than it was, decodes, and builds the same;
 * - cut short by any number of bytes, the anew built one is refused as too short;
 * - its slices lie within the frame (walked whole under the address sanitizer). */
#include "codec/runner_msg.h"
#include "fuzz/fuzz.h"

#define LISTS 3

/* Elements of the lists of a message, encoded anew. */
struct rebuilt {
	struct buf elements[LISTS];
	size_t n;
};

static struct buf *elements_of(struct rebuilt *b)
{
	CHECK(b->n < LISTS);
	return &b->elements[b->n++];
}

static void pairs(struct rebuilt *b, struct runner_list *list)
{
	struct buf *elements = elements_of(b);
	struct runner_walk w = runner_walk_of(*list);
	struct slice key, value;
	while (runner_pair_next(&w, &key, &value))
		CHECK(runner_pair_put(elements, key, value) == 0);
	list->bytes = buf_slice(elements);
}

static void bytes(struct rebuilt *b, struct runner_list *list)
{
	struct buf *elements = elements_of(b);
	struct runner_walk w = runner_walk_of(*list);
	struct slice one;
	while (runner_bytes_next(&w, &one))
		CHECK(runner_bytes_put(elements, one) == 0);
	list->bytes = buf_slice(elements);
}

static void checkpoints(struct rebuilt *b, struct runner_list *list)
{
	struct buf *elements = elements_of(b);
	struct runner_walk w = runner_walk_of(*list);
	struct runner_checkpoint c;
	while (runner_checkpoint_next(&w, &c))
		CHECK(runner_checkpoint_put(elements, &c) == 0);
	list->bytes = buf_slice(elements);
}

static void metadata(struct rebuilt *b, struct runner_list *list)
{
	struct buf *elements = elements_of(b);
	struct runner_walk w = runner_walk_of(*list);
	struct runner_kv_metadata m;
	while (runner_kv_metadata_next(&w, &m))
		CHECK(runner_kv_metadata_put(elements, &m) == 0);
	list->bytes = buf_slice(elements);
}

static void events(struct rebuilt *b, struct runner_list *list)
{
	struct buf *elements = elements_of(b);
	struct runner_walk w = runner_walk_of(*list);
	struct runner_event e;
	while (runner_event_next(&w, &e))
		CHECK(runner_event_put(elements, &e) == 0);
	list->bytes = buf_slice(elements);
}

static void commands(struct rebuilt *b, struct runner_list *list)
{
	struct buf *elements = elements_of(b);
	struct runner_walk w = runner_walk_of(*list);
	struct runner_command c;
	while (runner_command_next(&w, &c)) {
		struct buf ids;
		struct runner_walk sockets = runner_walk_of(c.sockets);
		struct runner_socket_id id;
		buf_init(&ids, elements->cap);
		while (runner_socket_id_next(&sockets, &id))
			CHECK(runner_socket_id_put(&ids, &id) == 0);
		c.sockets.bytes = buf_slice(&ids);
		CHECK(runner_command_put(elements, &c) == 0);
		buf_done(&ids);
	}
	list->bytes = buf_slice(elements);
}

static int rebuild_to_server(struct slice frame, struct rebuilt *b, struct buf *out)
{
	struct runner_to_server m;
	int outcome = runner_to_server_decode(frame, &m);
	if (outcome != 0)
		return outcome;
	if (m.tag == RUNNER_TO_SERVER_INIT)
		pairs(b, &m.init.actor_names);
	if (m.tag == RUNNER_TO_SERVER_EVENTS)
		events(b, &m.events);
	if (m.tag == RUNNER_TO_SERVER_ACK_COMMANDS)
		checkpoints(b, &m.commands);
	if (m.tag == RUNNER_TO_SERVER_KV_REQUEST) {
		bytes(b, &m.kv.keys);
		bytes(b, &m.kv.values);
	}
	if (m.tag == RUNNER_TO_SERVER_TUNNEL && m.tunnel.kind == RUNNER_UP_RESPONSE_START)
		pairs(b, &m.tunnel.response.headers);
	CHECK(runner_to_server_put(out, &m) == 0);
	return 0;
}

static int rebuild_to_client(struct slice frame, struct rebuilt *b, struct buf *out)
{
	struct runner_to_client m;
	int outcome = runner_to_client_decode(frame, &m);
	if (outcome != 0)
		return outcome;
	if (m.tag == RUNNER_TO_CLIENT_COMMANDS)
		commands(b, &m.commands);
	if (m.tag == RUNNER_TO_CLIENT_ACK_EVENTS)
		checkpoints(b, &m.events);
	if (m.tag == RUNNER_TO_CLIENT_KV_RESPONSE) {
		bytes(b, &m.kv.keys);
		bytes(b, &m.kv.values);
		metadata(b, &m.kv.metadata);
	}
	if (m.tag == RUNNER_TO_CLIENT_TUNNEL && m.tunnel.kind == RUNNER_DOWN_REQUEST_START)
		pairs(b, &m.tunnel.request.headers);
	if (m.tag == RUNNER_TO_CLIENT_TUNNEL && m.tunnel.kind == RUNNER_DOWN_WS_OPEN)
		pairs(b, &m.tunnel.open.headers);
	CHECK(runner_to_client_put(out, &m) == 0);
	return 0;
}

/* No element and no message may become longer than the frame was. */
static int rebuild(bool to_server, struct slice frame, struct buf *out)
{
	struct rebuilt b = {.n = 0};
	for (size_t i = 0; i < LISTS; i++)
		buf_init(&b.elements[i], frame.n + 1);
	buf_init(out, frame.n + 1);
	int outcome = to_server ? rebuild_to_server(frame, &b, out) : rebuild_to_client(frame, &b, out);
	for (size_t i = 0; i < LISTS; i++)
		buf_done(&b.elements[i]);
	CHECK(buf_len(out) <= frame.n);
	return outcome;
}

static int decode(bool to_server, struct slice frame)
{
	struct runner_to_server up;
	struct runner_to_client down;
	return to_server ? runner_to_server_decode(frame, &up) : runner_to_client_decode(frame, &down);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 100000)
		return 0;
	bool to_server = data[0] == 1;
	struct buf one, two;
	int outcome = rebuild(to_server, slice_of(data + 1, size - 1), &one);
	if (outcome == 0) {
		struct slice good = buf_slice(&one);
		CHECK(rebuild(to_server, good, &two) == 0);
		CHECK(slice_eq(good, buf_slice(&two)));
		for (size_t n = 0; n < good.n; n += 1 + good.n / 64)
			CHECK(decode(to_server, slice_head(good, n)) == BARE_SHORT);
		buf_done(&two);
	}
	buf_done(&one);
	return 0;
}
