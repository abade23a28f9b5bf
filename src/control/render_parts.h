/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the renderers share. Readers of JSON take anything, NULL included, and fall back; so no
 * renderer needs to check the shape of an answer before it uses it.
 */
#ifndef FAIRLEAD_CONTROL_RENDER_PARTS_H
#define FAIRLEAD_CONTROL_RENDER_PARTS_H

#include "control/render.h"
#include "control/table.h"
#include "control/thing.h"

#include <stdint.h>

/* Enough digits for a share, which is kept in 65536ths, and none that are noise. */
#define RENDER_REAL_DIGITS 9

struct render {
	const struct invocation *invocation;
	bool color;
	size_t width; /* of the screen; 0: any */
	struct buffer *text;
};

/* --- what rows of the command table name --- */

render_fn render_status;
render_fn render_get;
render_fn render_describe;
render_fn render_validate;
render_fn render_plan;
render_fn render_apply;
render_fn render_rollback;
render_fn render_rollout_status;
render_fn render_rollout_pause;
render_fn render_rollout_resume;
render_fn render_rollout_cut;
render_fn render_backend_forget;
render_fn render_node_remove;
render_fn render_token;
render_fn render_routing_status;
render_fn render_routing_config;
render_fn render_store_recover;
render_fn render_store_resume;
render_fn render_verify;
render_fn render_event;
render_fn render_doctor;
render_fn render_lab_up;
render_fn render_lab_status;
render_fn render_lab_down;
render_fn render_lab_link;

/*
 * A list of things as a table, one thing as a report. With `thing` NULL, or for what it does not
 * describe, a report goes by what the JSON looks like.
 */
void render_thing(const struct render *render, const struct thing *thing, const json_t *data);
void render_list(const struct render *render, const struct thing *thing, const json_t *list,
		 unsigned indent);
/* Its first `most` members. */
void render_head(const struct render *render, const struct thing *thing, const json_t *list,
		 size_t most, unsigned indent);

/* The lists that the objects `holders` have under `key`, as one table without its wide columns. If
 * it begins with an outer column, a holder whose list is empty has a row nevertheless. */
void render_lists(const struct render *render, const struct thing *thing, const json_t *holders,
		  const char *key, unsigned indent);

/* What a ledger entry of this kind says, in a few words; the whole of it is in the JSON. */
void render_entry_words(const char *kind, const json_t *what, struct buffer *words);

/* Any JSON as YAML (1.2, so that YAML 1.1 reads the same). */
void render_yaml(const json_t *data, struct buffer *text);

/* --- reading --- */

const char *part_text(const json_t *object, const char *key, const char *otherwise);
json_int_t part_number(const json_t *object, const char *key);
bool part_true(const json_t *object, const char *key);

/* --- values as people say them --- */

#define PART_BYTES 64

/* "0.4 s", "12 s", "5 min 3 s", "3 h 5 min", "4 d 3 h" */
const char *part_duration(json_int_t ms, char text[PART_BYTES]);
/* "in 12 s", "now" */
const char *part_due(json_int_t ms, char text[PART_BYTES]);
/* A fraction of all clients: "5%", "12.5%"; "?" for what is none. */
const char *part_share(double share, char text[PART_BYTES]);
/* "2026-11-22T07:31:04.123Z" → "2026-11-22 07:31:04"; anything else as it is. */
const char *part_time(const char *time, char text[PART_BYTES]);

/* A cell with a count; "?" when it is not known. */
void part_count_cell(struct table *table, const json_t *object, const char *key);

/* Was everything asked for, by --all? */
bool part_all(const struct render *render);

/* The array's texts, joined by ", "; "-" when there is none. */
void part_join(const json_t *array, struct buffer *text);

/* An empty line and a title. */
void part_heading(const struct render *render, const char *title);

/* Render the table, or `otherwise` when it has no row, and end it. */
void part_table_end(struct table *table, const struct render *render, unsigned indent,
		    const char *otherwise);

/* Append words from anywhere on lines that fit the screen, further ones indented by two more. */
void part_wrap(const struct render *render, unsigned indent, const char *words);

/* Of the versions that wait for something, a sentence each. */
void part_why_versions(const struct render *render, const json_t *versions, unsigned indent);

/* "waits for web9: it is silent (and 3 more)", of a rollout that does. */
void part_waits(const json_t *rollout, struct buffer *words);

#endif
