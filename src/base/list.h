/* Intrusive doubly linked list with a sentinel. A node that is in no list
 * points to itself, so removing twice is harmless and list_linked() tells. */
#pragma once

#include <stdbool.h>

#include "base/check.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline bool list_linked(const struct list *node)
{
	return node->next != node;
}

static inline void list_push_back(struct list *l, struct list *node)
{
	CHECK(!list_linked(node));
	node->prev = l->prev;
	node->next = l;
	l->prev->next = node;
	l->prev = node;
}

static inline void list_push_front(struct list *l, struct list *node)
{
	list_push_back(l->next, node);
}

static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->prev = node->next = node;
}

/* First node taken out, or NULL. */
static inline struct list *list_pop(struct list *l)
{
	struct list *node = l->next;
	if (node == l)
		return NULL;
	list_remove(node);
	return node;
}

/* Moves everything from `from` to the end of `to`. */
static inline void list_move_all(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* Safe against removal of `node` itself inside the body. */
#define LIST_FOR(head, node)                                                              \
	for (struct list *node = (head)->next, *next_##node = node->next; node != (head); \
	     node = next_##node, next_##node = node->next)
