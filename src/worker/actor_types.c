/* Owns every struct actor_type of the daemon: two arrays, of those in force
 * and of the replaced.
 *
 * A replaced type costs what its settings take and stays as long as the
 * slowest of its actors; LIMIT_ACTOR_TYPES_OLD bounds how many a quick series
 * of reloads may pile up. */
#include "worker/actor_types.h"

#include "base/limits.h"
#include "base/metric.h"

struct actor_types {
	struct actor_type **current; /* NULL-terminated */
	struct actor_type *old[LIMIT_ACTOR_TYPES_OLD];
	size_t n_old;
};

/* Each is counted under its name from now on. */
static void number(struct actor_type **types)
{
	for (size_t i = 0; types[i] != NULL; i++)
		types[i]->slot = metric_type_slot(types[i]->name);
}

struct actor_types *actor_types_new(struct actor_type **types)
{
	struct actor_types *t = mem_zalloc(sizeof(*t));
	t->current = types;
	number(types);
	return t;
}

void actor_types_free(struct actor_types *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; t->current[i] != NULL; i++)
		actor_type_free(t->current[i]);
	for (size_t i = 0; i < t->n_old; i++)
		actor_type_free(t->old[i]);
	mem_free(t->current);
	mem_free(t);
}

/* Its place in an array, or that of the NULL at the end. */
static size_t place_of(struct actor_type *const *types, struct slice name)
{
	size_t i = 0;
	while (types[i] != NULL && !slice_is(name, types[i]->name))
		i++;
	return i;
}

const struct actor_type *actor_types_find(const struct actor_types *t, struct slice name)
{
	return t->current[place_of(t->current, name)];
}

const struct actor_type *actor_types_at(const struct actor_types *t, size_t i)
{
	return t->current[i];
}

bool actor_types_is_current(const struct actor_types *t, const struct actor_type *type)
{
	return actor_types_find(t, slice_str(type->name)) == type;
}

void actor_types_list(const struct actor_types *t, struct buf *out, size_t bytes_max)
{
	buf_add_str(out, t->current[0] == NULL ? "none is" : "there are: ");
	for (size_t i = 0; t->current[i] != NULL && buf_len(out) < bytes_max; i++)
		buf_addf(out, "%s%.128s", i == 0 ? "" : ", ", t->current[i]->name);
}

/* ---- replacing ---- */

bool actor_types_has_room(const struct actor_types *t, struct actor_type *const *types)
{
	size_t n = t->n_old;
	for (size_t i = 0; t->current[i] != NULL; i++) {
		const struct actor_type *next = types[place_of(types, slice_str(t->current[i]->name))];
		n += next == NULL || !actor_type_equal(next, t->current[i]);
	}
	return n <= LIMIT_ACTOR_TYPES_OLD;
}

static void tell(actor_types_told *told, void *arg, const char *kind, const char *name)
{
	if (told != NULL)
		told(arg, kind, name);
}

static void retire(struct actor_types *t, struct actor_type *type)
{
	CHECK(t->n_old < LIMIT_ACTOR_TYPES_OLD);
	t->old[t->n_old++] = type;
}

/* One of the replaced that is just as this one, no longer among them; or NULL. */
static struct actor_type *take_back(struct actor_types *t, const struct actor_type *like)
{
	for (size_t i = 0; i < t->n_old; i++) {
		struct actor_type *type = t->old[i];
		if (strcmp(type->name, like->name) == 0 && actor_type_equal(type, like)) {
			t->old[i] = t->old[--t->n_old];
			return type;
		}
	}
	return NULL;
}

/* The same as another is that other: whoever is of it stays as it is. */
static void keep(struct actor_type **type, struct actor_type *as)
{
	actor_type_free(*type);
	*type = as;
}

void actor_types_replace(struct actor_types *t, struct actor_type **types, actor_types_told *told, void *arg,
			 struct actor_types_change *ret)
{
	struct actor_types_change n = {0};
	number(types);
	for (size_t i = 0; types[i] != NULL; i++) {
		struct actor_type **was = &t->current[place_of(t->current, slice_str(types[i]->name))];
		if (*was != NULL && actor_type_equal(*was, types[i])) {
			n.unchanged++;
			keep(&types[i], *was);
			continue;
		}
		if (*was == NULL) {
			n.added++;
			tell(told, arg, "added", types[i]->name);
		} else {
			n.changed++;
			tell(told, arg, "changed", types[i]->name);
			retire(t, *was);
		}
		struct actor_type *again = take_back(t, types[i]);
		if (again != NULL)
			keep(&types[i], again);
	}
	for (size_t i = 0; t->current[i] != NULL; i++) {
		if (types[place_of(types, slice_str(t->current[i]->name))] != NULL)
			continue;
		n.removed++;
		tell(told, arg, "removed", t->current[i]->name);
		retire(t, t->current[i]);
	}
	mem_free(t->current);
	t->current = types;
	*ret = n;
}

const struct actor_type *actor_types_old(const struct actor_types *t, size_t i)
{
	return i < t->n_old ? t->old[i] : NULL;
}

size_t actor_types_sweep(struct actor_types *t, bool (*let_go)(void *arg, const struct actor_type *type), void *arg)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->n_old; i++) {
		if (let_go(arg, t->old[i]))
			actor_type_free(t->old[i]);
		else
			t->old[kept++] = t->old[i];
	}
	t->n_old = kept;
	return kept;
}
