/* What the files of the runner protocol share: fields that occur in several messages. */
#pragma once

#include "codec/runner_msg.h"

/* Reads one element; the reader remembers a failure. */
typedef void runner_element(struct bare_reader *r);

/* A list whose elements take at least element_min bytes each, checked whole by reading each once. */
struct runner_list runner_list_read(struct bare_reader *r, size_t element_min, runner_element *element);
/* map<str, str>: checked whole, no key twice. */
struct runner_list runner_pairs_read(struct bare_reader *r);
struct runner_list runner_bytes_read(struct bare_reader *r);
struct runner_list runner_checkpoints_read(struct bare_reader *r);
struct runner_list runner_socket_ids_read(struct bare_reader *r);
struct runner_list runner_kv_metadata_read(struct bare_reader *r);

struct runner_checkpoint runner_checkpoint_read(struct bare_reader *r);
struct runner_message_id runner_message_id_read(struct bare_reader *r);

/* optional<T>: *ret_has tells; without one the value is empty or 0. */
struct slice runner_optional_data_read(struct bare_reader *r, bool *ret_has);
struct slice runner_optional_str_read(struct bare_reader *r, bool *ret_has);
uint16_t runner_optional_u16_read(struct bare_reader *r, bool *ret_has);
int64_t runner_optional_i64_read(struct bare_reader *r, bool *ret_has);

void runner_list_write(struct bare_writer *w, struct runner_list list);
void runner_checkpoint_write(struct bare_writer *w, const struct runner_checkpoint *c);
void runner_message_id_write(struct bare_writer *w, const struct runner_message_id *id);
void runner_optional_data_write(struct bare_writer *w, bool has, struct slice bytes);
void runner_optional_str_write(struct bare_writer *w, bool has, struct slice text);
void runner_optional_u16_write(struct bare_writer *w, bool has, uint16_t v);
void runner_optional_i64_write(struct bare_writer *w, bool has, int64_t v);
