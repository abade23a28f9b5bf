/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out in a whole program: a library for LD_PRELOAD, which fails each allocation
 * that the program makes, one after the other.
 *
 * An allocation is told from others by the functions that lead to it, so by its stack: what a loop
 * allocates is one, what a helper allocates for two callers are two. Each of them fails once, when
 * it is met for the (skip + 1)th time while `armed` is set. Whoever tries again and again gets one
 * failure further each time, until there are none left.
 *
 * Only what the program asks for itself is failed, also where it asks libc for a copy of a text;
 * not what another library wants for itself. What jansson wants is the program's, by whose
 * function it allocates.
 *
 * FAILING_MEMORY names a file, of FILE_BYTES, in the form of `struct shared`, which the test maps
 * as well. It outlives the program, so that one that ends is started again and goes on after the
 * failure that ended it. Stacks are kept as offsets into the program, which is loaded elsewhere
 * each time.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PLACES 65536u
#define FRAMES 24
#define LIBRARIES 8

struct place {
	uint64_t stack; /* digest; 0: free */
	uint64_t met;
};

struct shared {
	uint64_t armed;
	uint64_t skip;
	uint64_t gap_ms; /* between two failures: else one would hide what another does */
	uint64_t failed_ms;
	uint64_t failures;
	uint64_t overflows; /* of `places`, which must not be */
	uint64_t last[FRAMES]; /* the stack of the last failure: offsets, 0 for other libraries */
	struct place places[PLACES];
};

struct range {
	uintptr_t start, end;
};

static struct shared *shared;
static struct range program;
static struct range libc[LIBRARIES]; /* and this library, and a sanitizer's */
static size_t libc_count;
static __thread bool busy;

static bool is_in(const struct range *range, uintptr_t address)
{
	return address >= range->start && address < range->end;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	struct range range = {.start = info->dlpi_addr, .end = info->dlpi_addr};
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
		if (part->p_type == PT_LOAD && end > range.end)
			range.end = end;
	}
	if (!*info->dlpi_name)
		program = range;
	else if ((strstr(info->dlpi_name, "/libc.so") || strstr(info->dlpi_name, "/ld-linux") ||
		  strstr(info->dlpi_name, "/libasan") || is_in(&range, (uintptr_t)note_object)) &&
		 libc_count < LIBRARIES)
		libc[libc_count++] = range;
	return 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAILING_MEMORY");
	void *frames[2];
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		abort();
	void *memory = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		abort();
	dl_iterate_phdr(note_object, NULL);
	(void)backtrace(frames, 2); /* loads what it needs, which allocates */
	shared = memory;
}

static bool is_libc(uintptr_t address)
{
	for (size_t i = 0; i < libc_count; i++) {
		if (is_in(&libc[i], address))
			return true;
	}
	return false;
}

/* The stack as offsets into the program; 0 when the program is not who asks. */
static uint64_t read_stack(uint64_t ret_stack[FRAMES])
{
	void *frames[FRAMES];
	int count = backtrace(frames, FRAMES);
	int first = 0;
	uint64_t digest = 14695981039346656037u; /* FNV-1a */
	while (first < count && is_libc((uintptr_t)frames[first]))
		first++;
	if (first == count || !is_in(&program, (uintptr_t)frames[first]))
		return 0;
	for (int i = 0; i < FRAMES; i++) {
		uintptr_t frame = i < count ? (uintptr_t)frames[i] : 0;
		ret_stack[i] = is_in(&program, frame) ? frame - program.start : 0;
		digest = (digest ^ ret_stack[i]) * 1099511628211u;
	}
	return digest ? digest : 1;
}

static struct place *find(uint64_t stack)
{
	for (uint64_t i = 0; i < PLACES; i++) {
		struct place *place = &shared->places[(stack + i) % PLACES];
		uint64_t is = 0;
		if (__atomic_compare_exchange_n(&place->stack, &is, stack, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED) ||
		    is == stack)
			return place;
	}
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool must_fail(void)
{
	uint64_t frames[FRAMES];
	struct shared *const state = shared;
	if (!state || busy || !__atomic_load_n(&state->armed, __ATOMIC_RELAXED) ||
	    now_ms() - state->failed_ms < state->gap_ms)
		return false;
	busy = true;
	uint64_t stack = read_stack(frames);
	struct place *place = stack ? find(stack) : NULL;
	busy = false;
	if (stack && !place)
		state->overflows++;
	if (!place || __atomic_fetch_add(&place->met, 1, __ATOMIC_RELAXED) != state->skip)
		return false;
	state->failed_ms = now_ms();
	memcpy(state->last, frames, sizeof(frames));
	__atomic_fetch_add(&state->failures, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return true;
}

/* The next library's: libc's, or a sanitizer's. Nothing is allocated before they are found but by
 * dlsym() itself, which can do without. */
#define NEXT(name)                                                                                 \
	static __typeof__(&(name)) next;                                                           \
	if (!next) {                                                                               \
		void *found = dlsym(RTLD_NEXT, #name);                                             \
		memcpy(&next, &found, sizeof(next));                                               \
	}

void *malloc(size_t size)
{
	NEXT(malloc);
	return must_fail() ? NULL : next(size);
}

void *calloc(size_t count, size_t size)
{
	NEXT(calloc);
	return must_fail() ? NULL : next(count, size);
}

void *realloc(void *block, size_t size)
{
	NEXT(realloc);
	return must_fail() ? NULL : next(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	NEXT(aligned_alloc);
	return must_fail() ? NULL : next(alignment, size);
}

int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
	NEXT(posix_memalign);
	return must_fail() ? ENOMEM : next(ret_block, alignment, size);
}
