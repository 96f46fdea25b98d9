/* Routing words out of a list of subprotocols. Owns nothing. */
#include "codec/route_words.h"

#include "codec/http_inner.h"

static bool take_word(struct route_words *w, struct slice word)
{
	static const struct {
		const char *prefix;
		size_t at;
	} known[] = {
	    {"rivet_target.", offsetof(struct route_words, target)},
	    {"rivet_actor.", offsetof(struct route_words, actor)},
	    {"rivet_token.", offsetof(struct route_words, token)},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!slice_starts(word, known[i].prefix))
			continue;
		struct slice *to = (struct slice *)(void *)((char *)w + known[i].at);
		if (to->n == 0)
			*to = slice_from(word, strlen(known[i].prefix));
		return true;
	}
	if (!slice_is(word, "rivet_skip_ready_wait"))
		return false;
	w->skip_ready_wait = true;
	return true;
}

static void take_list(struct slice list, struct route_words *ret, struct buf *kept)
{
	struct slice word;
	for (size_t at = 0; http_list_next(list, &at, &word);) {
		if (take_word(ret, word))
			continue;
		ret->offered_rivet |= slice_is(word, "rivet");
		if (buf_len(kept) > 0)
			buf_add(kept, SLICE_LIT(", "));
		buf_add(kept, word);
	}
}

void route_words_take(const struct http_head *h, struct route_words *ret, struct buf *kept)
{
	*ret = (struct route_words){0};
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == HTTP_F_SEC_WEBSOCKET_PROTOCOL)
			take_list(h->fields[i].value, ret, kept);
	}
}
