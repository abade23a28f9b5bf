/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/yaml.h"

#include "base/text.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

/* One open list or map, and the key that waits for its value. */
struct level {
	struct yaml_node *node;
	struct yaml_node *key;
};

struct node_builder {
	struct notes *notes;
	const char *needs;
	struct arena *arena;
	struct level levels[YAML_MAX_DEPTH];
	size_t depth;
	struct yaml_node *root;
	size_t node_count;
	size_t documents;
	size_t position; /* where the last event ended, for errors that say no place */
	bool stopped; /* an error that makes reading on pointless */
};

/* --- bytes --- */

static bool is_allowed(const char *text, size_t length, size_t step)
{
	if (*text == '\t' || *text == '\n')
		return true;
	if (*text == '\r')
		return length > 1 && text[1] == '\n';
	return step != 0 && !text_is_control(text, step);
}

static void report_byte(struct notes *notes, size_t offset, size_t step)
{
	struct note_span span = {offset, offset + 1};
	unsigned char byte = (unsigned char)notes->text[offset];
	if (step == 0)
		notes_error(notes, span, "the byte 0x%02x is not UTF-8", byte);
	else
		notes_error(notes, span, "a control character (byte 0x%02x)", byte);
	notes_advise(notes, "save the file as plain text in UTF-8");
}

/* The whole file is UTF-8 without control characters; lines end in LF or CRLF, and are bounded,
 * because libfyaml looks ahead to the end of a line for the colon of a key. */
static void check_bytes(struct notes *notes)
{
	size_t offset = 0, line = 0;
	if (notes->length >= 3 && memcmp(notes->text, "\xef\xbb\xbf", 3) == 0)
		offset = 3; /* a byte order mark at the start is allowed (YAML 1.2 section 5.2) */
	while (offset < notes->length) {
		const char *text = notes->text + offset;
		size_t length = notes->length - offset;
		/* Nearly every byte of nearly every file. */
		bool is_plain = *text >= ' ' && *text <= '~';
		size_t step = is_plain ? 1 : text_utf8_step(text, length);
		if (!is_plain && !is_allowed(text, length, step)) {
			report_byte(notes, offset, step);
			return;
		}
		if (*text == '\n')
			line = offset + 1;
		if (offset >= line + YAML_MAX_LINE) {
			notes_error(notes, (struct note_span){offset, offset + 1},
				    "the line is longer than %u bytes", YAML_MAX_LINE);
			notes_advise(notes, "break it: lists and maps may span lines");
			return;
		}
		offset += step;
	}
}

/* --- the tree --- */

/* A value that is not there may have no mark: then it is where the event before it ended. */
static struct note_span event_span(const struct node_builder *builder, struct fy_event *event)
{
	const struct fy_mark *start = fy_event_start_mark(event);
	const struct fy_mark *end = fy_event_end_mark(event);
	struct note_span span = {builder->position, builder->position};
	if (start)
		span.start = span.end = start->input_pos;
	if (end && end->input_pos > span.start)
		span.end = end->input_pos;
	return span;
}

static void stop(struct node_builder *builder)
{
	builder->stopped = true;
}

static struct yaml_node *node_new(struct node_builder *builder, enum yaml_kind kind,
				  struct note_span span)
{
	if (builder->node_count++ >= YAML_MAX_NODES) {
		notes_error(builder->notes, span, "the file holds more than %u keys and values",
			    YAML_MAX_NODES);
		stop(builder);
		return NULL;
	}
	struct yaml_node *node = arena_alloc(builder->arena, sizeof(*node));
	if (!node) {
		builder->notes->status = -ENOMEM;
		stop(builder);
		return NULL;
	}
	node->kind = kind;
	node->span = span;
	return node;
}

/* Hang a finished scalar or an opening list or map in its place. */
static void attach(struct node_builder *builder, struct yaml_node *node)
{
	if (builder->depth == 0) {
		builder->root = node;
		return;
	}
	struct level *level = &builder->levels[builder->depth - 1];
	if (level->node->kind == YAML_MAP && !level->key) {
		if (node->kind == YAML_SCALAR) {
			level->key = node;
			return;
		}
		notes_error(builder->notes, node->span, "a key must be a plain word");
		notes_advise(builder->notes, "a `{` or `[` may be missing its end, or a value "
					     "its quotes");
		stop(builder);
		return;
	}
	node->key = level->key;
	level->key = NULL;
	if (level->node->last)
		level->node->last->next = node;
	else
		level->node->first = node;
	level->node->last = node;
	level->node->count++;
}

static void open_collection(struct node_builder *builder, enum yaml_kind kind,
			    struct note_span span)
{
	if (builder->depth >= YAML_MAX_DEPTH) {
		notes_error(builder->notes, span, "lists and maps are nested more than %u deep",
			    YAML_MAX_DEPTH);
		stop(builder);
		return;
	}
	struct yaml_node *node = node_new(builder, kind, span);
	if (!node)
		return;
	attach(builder, node);
	builder->levels[builder->depth++] = (struct level){.node = node};
}

static int compare_keys(const void *a, const void *b)
{
	const struct yaml_node *left = *(const struct yaml_node *const *)a;
	const struct yaml_node *right = *(const struct yaml_node *const *)b;
	int order = strcmp(left->text, right->text);
	if (order)
		return order;
	return left->span.start < right->span.start ? -1 : left->span.start > right->span.start;
}

/* Sorted, so that a map of very many keys takes no quadratic time. */
static void check_duplicates(struct node_builder *builder, const struct yaml_node *map)
{
	const struct yaml_node **keys = arena_array(builder->arena, map->count, sizeof(*keys));
	if (!keys) {
		builder->notes->status = -ENOMEM;
		stop(builder);
		return;
	}
	size_t count = 0;
	for (const struct yaml_node *value = map->first; value; value = value->next)
		keys[count++] = value->key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(keys[i - 1]->text, keys[i]->text) != 0)
			continue;
		notes_error(builder->notes, keys[i]->span, "the key `%s` is there twice",
			    keys[i]->text);
		notes_advise(builder->notes, "the other is in line %u; remove one of them",
			     notes_other_line(builder->notes, keys[i - 1]->span.start));
	}
}

static void close_collection(struct node_builder *builder)
{
	if (builder->depth == 0) {
		stop(builder);
		return;
	}
	const struct yaml_node *node = builder->levels[--builder->depth].node;
	if (node->kind == YAML_MAP)
		check_duplicates(builder, node);
}

static bool means_nothing(const char *text, size_t length)
{
	if (length == 4)
		return strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
		       strcmp(text, "NULL") == 0;
	return length == 0 || (length == 1 && *text == '~');
}

static bool has_control(const char *text, size_t length)
{
	for (size_t i = 0; i < length;) {
		size_t step = text_utf8_step(text + i, length - i);
		if (step == 0 || text_is_control(text + i, step))
			return true;
		i += step;
	}
	return false;
}

/* libfyaml 0.7.12 misreads two doubled quotes in a row in a single-quoted scalar ('' '' without the
 * space is read as three quotes), and leaks when there are five. */
static bool is_misread(const struct node_builder *builder, struct fy_token *token,
		       struct note_span span)
{
	const char *text = builder->notes->text + span.start;
	return fy_token_scalar_style(token) == FYSS_SINGLE_QUOTED &&
	       span.end <= builder->notes->length &&
	       memmem(text, span.end - span.start, "''''", 4) != NULL;
}

static void add_scalar(struct node_builder *builder, struct fy_event *event)
{
	struct note_span span = event_span(builder, event);
	if (is_misread(builder, event->scalar.value, span)) {
		notes_error(builder->notes, span, "two doubled quotes in a row are not supported");
		notes_advise(builder->notes, "write the text in double quotes");
		stop(builder);
		return;
	}
	size_t length = 0;
	const char *text = fy_token_get_text(event->scalar.value, &length);
	if (!text)
		text = "";
	if (has_control(text, length)) {
		notes_error(builder->notes, span,
			    "this text holds a line end or another control character");
		notes_advise(builder->notes, "every value of the configuration is a single line; "
					     "check the quotes and the indentation");
		stop(builder);
		return;
	}
	struct yaml_node *node = node_new(builder, YAML_SCALAR, span);
	if (!node)
		return;
	node->text = arena_strndup(builder->arena, text, length);
	if (!node->text) {
		builder->notes->status = -ENOMEM;
		stop(builder);
		return;
	}
	node->is_plain = fy_token_scalar_style(event->scalar.value) == FYSS_PLAIN;
	node->is_null = node->is_plain && means_nothing(node->text, length);
	attach(builder, node);
}

/* --- events --- */

static void refuse(struct node_builder *builder, struct note_span span, const char *what)
{
	notes_error(builder->notes, span, "%s in the configuration", what);
	notes_advise(builder->notes, "write the value itself: anchors, aliases and tags are "
				     "refused, so that a file says no more than it shows");
	stop(builder);
}

static void refuse_decorations(struct node_builder *builder, struct fy_event *event)
{
	if (fy_event_get_anchor_token(event))
		refuse(builder, event_span(builder, event), "an anchor (&)");
	else if (fy_event_get_tag_token(event))
		refuse(builder, event_span(builder, event), "a tag (!)");
}

static void handle(struct node_builder *builder, struct fy_event *event)
{
	struct note_span span = event_span(builder, event);
	if (span.end > builder->position)
		builder->position = span.end;
	switch (event->type) {
	case FYET_DOCUMENT_START:
		if (builder->documents++ == 0)
			return;
		notes_error(builder->notes, span, "a second document begins here");
		notes_advise(builder->notes,
			     "one file holds one fabric; remove the `---` or `...` line");
		stop(builder);
		return;
	case FYET_ALIAS:
		refuse(builder, span, "an alias (*)");
		return;
	case FYET_SCALAR:
		refuse_decorations(builder, event);
		if (!builder->stopped)
			add_scalar(builder, event);
		return;
	case FYET_MAPPING_START:
	case FYET_SEQUENCE_START:
		refuse_decorations(builder, event);
		if (!builder->stopped)
			open_collection(builder,
					event->type == FYET_MAPPING_START ? YAML_MAP : YAML_LIST,
					span);
		return;
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		close_collection(builder);
		return;
	case FYET_NONE:
	case FYET_STREAM_START:
	case FYET_STREAM_END:
	case FYET_DOCUMENT_END:
		return;
	}
}

/* The opening bracket of the innermost flow collection that is still open. */
static const struct yaml_node *open_bracket(const struct node_builder *builder)
{
	const struct yaml_node *innermost = NULL;
	for (size_t i = 0; i < builder->depth; i++) {
		const struct yaml_node *node = builder->levels[i].node;
		char c = node->span.start < builder->notes->length
			     ? builder->notes->text[node->span.start]
			     : '\0';
		if (c == '[' || c == '{')
			innermost = node;
	}
	return innermost;
}

static void advise_syntax(struct node_builder *builder, const char *message)
{
	const struct yaml_node *open = open_bracket(builder);
	if (strstr(message, "tab character")) {
		notes_advise(builder->notes, "indent with spaces");
	} else if (open) {
		notes_advise(builder->notes,
			     "perhaps the `%c` in line %u is not closed, or a comma is missing",
			     builder->notes->text[open->span.start],
			     notes_other_line(builder->notes, open->span.start));
	} else {
		notes_advise(builder->notes, "check the indentation, the colons and the quotes "
					     "of this line and the one above");
	}
}

/* libfyaml's own first error; it counts lines and columns from 1, columns in characters. */
static void report_syntax(struct node_builder *builder, struct fy_diag *diag)
{
	void *iterator = NULL;
	const struct fy_diag_error *error = fy_diag_errors_iterate(diag, &iterator);
	while (error && error->type != FYET_ERROR)
		error = fy_diag_errors_iterate(diag, &iterator);
	const char *message = error && error->msg ? error->msg : "it cannot be read further";
	size_t offset = builder->position;
	if (error && error->line > 0 && error->column > 0)
		offset =
		    notes_offset(builder->notes, (uint32_t)error->line, (uint32_t)error->column);
	notes_error(builder->notes, (struct note_span){offset, offset + 1}, "this is not YAML: %s",
		    message);
	advise_syntax(builder, message);
}

static void run(struct node_builder *builder, struct fy_parser *parser, struct fy_diag *diag)
{
	bool ended = false;
	struct fy_event *event;
	while (!builder->stopped && (event = fy_parser_parse(parser))) {
		ended = event->type == FYET_STREAM_END;
		handle(builder, event);
		fy_parser_event_free(parser, event);
	}
	if (builder->stopped)
		return;
	if (!ended || fy_parser_get_stream_error(parser)) {
		report_syntax(builder, diag);
	} else if (!builder->root || builder->root->is_null) {
		notes_file_error(builder->notes, "the file is empty");
		notes_advise(builder->notes, "%s", builder->needs);
	}
}

/* Parse with libfyaml, which must print nothing and resolve nothing. */
static int parse(struct node_builder *builder)
{
	struct fy_diag_cfg diag_config;
	fy_diag_cfg_default(&diag_config);
	diag_config.fp = NULL;
	diag_config.output_fn = NULL;
	diag_config.colorize = false;
	struct fy_diag *diag = fy_diag_create(&diag_config);
	if (!diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(diag, true);

	/* Duplicate keys are left to check_duplicates(), which says where the other one is. */
	struct fy_parse_cfg config = {.search_path = "",
				      .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG |
					       FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
					       FYPCF_ALLOW_DUPLICATE_KEYS,
				      .diag = diag};
	struct fy_parser *parser = fy_parser_create(&config);
	int result =
	    parser ? fy_parser_set_string(parser, builder->notes->text, builder->notes->length)
		   : -1;
	if (result == 0)
		run(builder, parser, diag);
	if (parser)
		fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return result == 0 ? builder->notes->status : -ENOMEM;
}

int yaml_read(struct notes *notes, const char *needs, struct arena *arena,
	      struct yaml_node **ret_root)
{
	if (notes->length > YAML_MAX_BYTES) {
		notes_file_error(notes, "the file has %zu bytes; the most is %u", notes->length,
				 YAML_MAX_BYTES);
		return -FL_EINVALID;
	}
	check_bytes(notes);
	if (notes->findings->errors)
		return -FL_EINVALID;

	struct node_builder builder = {.notes = notes, .needs = needs, .arena = arena};
	int result = parse(&builder);
	if (result < 0)
		return result;
	if (notes->findings->errors)
		return -FL_EINVALID;
	*ret_root = builder.root;
	return 0;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (const struct yaml_node *value = map->first; value; value = value->next)
		if (strcmp(value->key->text, key) == 0)
			return value;
	return NULL;
}
