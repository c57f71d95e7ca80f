// Makes the calls of a recording (recording.ts) again, in a process where a memory checker can look on, and
// holds every result and every byte that is read back against what the recording says.
//
//   replay CALLS BYTES SESSIONS    in a folder that holds the mapped files; SESSIONS has lines "offset size name"
//
// Handles may be others than they were: their numbers are translated. Byte arguments lie
// in memory of their exact size. Ends with 1 at the first difference.
#include "expect.h"
#include <unistd.h>

typedef union {
  int32_t number;
  float single;
  double real;
  uint8_t *bytes;
} argument;

typedef union {
  int32_t number;
  double real;
} answer;

#include "calls.h"

enum { TRUNCATION = 255 };

typedef struct {
  uint8_t *bytes;
  size_t size;
} content;

static content calls, bytes;
static size_t at;  // in calls
static const char *session;
static int64_t n_made;

static _Noreturn void differs(int32_t id, const char *what, double found, double expected) {
  fprintf(stderr, "%s, call %lld: %s %s %.17g, it was %.17g when recorded (%s)\n", session, (long long)n_made, names[id], what, found,
          expected, error_text());
  exit(1);
}

static content read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  EXPECT(file && fseek(file, 0, SEEK_END) == 0);
  const long size = ftell(file);
  content c = {malloc(size ? (size_t)size : 1), (size_t)size};
  EXPECT(c.bytes && fseek(file, 0, SEEK_SET) == 0 && fread(c.bytes, 1, c.size, file) == c.size);
  fclose(file);
  return c;
}

static void take(void *to, size_t size) {
  EXPECT(size <= calls.size - at);
  memcpy(to, calls.bytes + at, size);
  at += size;
}

static int32_t take_number(void) {
  int32_t number;
  take(&number, sizeof number);
  return number;
}

static double take_real(void) {
  double real;
  take(&real, sizeof real);
  return real;
}

// The recorded content of a byte argument; NULL where none was given.
static content take_content(void) {
  const double offset = take_real();
  const int32_t length = take_number();
  if (length < 0) return (content){NULL, 0};
  EXPECT(offset <= (double)bytes.size && (double)length <= (double)bytes.size - offset);
  return (content){bytes.bytes + (size_t)offset, (size_t)length};
}

// ---- handles as they were recorded -> as they are now

typedef struct {
  int32_t was, is;
} pair;
static pair *pairs;
static size_t n_places;  // a power of two

static pair *place_of(int32_t was) {
  size_t place = (uint32_t)was * 2654435769u % n_places;
  while (pairs[place].was && pairs[place].was != was) place = (place + 1) % n_places;
  return &pairs[place];
}

static void remember(int32_t was, int32_t is) {
  static size_t n_pairs;
  if (2 * n_pairs >= n_places) {
    pair *old = pairs;
    const size_t n_old = n_places;
    n_places = n_places ? 2 * n_places : 1 << 12;
    pairs = calloc(n_places, sizeof *pairs);
    for (size_t i = 0; i < n_old; i++) {
      if (old[i].was) *place_of(old[i].was) = old[i];
    }
    free(old);
  }
  pair *p = place_of(was);
  n_pairs += p->was == 0;
  *p = (pair){was, is};
}

static int32_t handle_now(int32_t was) {
  const pair *p = was && n_places ? place_of(was) : NULL;
  return p && p->was ? p->is : was;  // one that was never made is as wrong now
}

// ---- files that became shorter while they were mapped

static struct {
  char name[64];
  content whole;
} shortened[16];
static int32_t n_shortened;

static void shorten_file(void) {
  const content name = take_content();
  const double size = take_real();
  EXPECT(n_shortened < 16 && name.size < sizeof shortened->name);
  memcpy(shortened[n_shortened].name, name.bytes, name.size);
  shortened[n_shortened].name[name.size] = 0;
  shortened[n_shortened].whole = read_file(shortened[n_shortened].name);
  EXPECT(truncate(shortened[n_shortened].name, (off_t)size) == 0);
  n_shortened++;
}

// Other sessions map them too.
static void restore_files(void) {
  while (n_shortened > 0) {
    n_shortened--;
    FILE *file = fopen(shortened[n_shortened].name, "wb");
    EXPECT(file && fwrite(shortened[n_shortened].whole.bytes, 1, shortened[n_shortened].whole.size, file) > 0 && fclose(file) == 0);
    free(shortened[n_shortened].whole.bytes);
  }
}

// ---- calls

static bool is_call(int32_t id, const char *name) { return strcmp(names[id], name) == 0; }

// What is measured is not the same each time.
static bool varies(int32_t id) { return strncmp(names[id], "limit_", 6) == 0; }

static void hold_answer(int32_t id, answer found) {
  if (shapes[id][0] == 'd') {
    const double was = take_real();
    const bool same = varies(id) && was >= 0 ? found.real >= 0 : found.real == was;
    if (!same) differs(id, "gives", found.real, was);
    return;
  }
  const int32_t was = take_number();
  if (shapes[id][0] == 'h' && was > 0 && found.number > 0) remember(was, found.number);
  else if (is_call(id, "last_error")) return;  // texts have handles in them
  else if (is_call(id, "isa_has") || is_call(id, "isa_best")) return;  // valgrind's processor has fewer
  else if (found.number != was) differs(id, "gives", found.number, was);
}

// Bytes that were not filled in may not be looked at: a memory checker that knows which these are speaks up here.
static void hold_bytes(int32_t id, int32_t i, const argument *a, content was) {
  if (is_call(id, "last_error")) return;
  for (size_t k = 0; k < was.size; k++) {
    if (a[i].bytes[k] == was.bytes[k]) continue;
    char what[64];
    snprintf(what, sizeof what, "writes at byte %zu of %zu", k, was.size);
    differs(id, what, a[i].bytes[k], was.bytes[k]);
  }
}

// A list of ops has handles in it. The number of an op counts from `embed` on.
static void translate_list(uint8_t *list, size_t size) {
  int32_t first = 0;
  while (!is_call(first, "embed")) first++;
  for (size_t place = 0; place < size;) {
    int32_t value;
    memcpy(&value, list + place, sizeof value);
    EXPECT(value >= 0 && value < N_CALLS - first);
    const char *shape = shapes[first + value] + 1;
    place += sizeof value;
    EXPECT(strlen(shape) * sizeof value <= size - place);
    for (; *shape; shape++, place += sizeof value) {
      if (*shape != 'h') continue;
      memcpy(&value, list + place, sizeof value);
      value = handle_now(value);
      memcpy(list + place, &value, sizeof value);
    }
  }
}

static void replay_call(int32_t id) {
  argument a[MOST_ARGUMENTS];
  memset(a, 0, sizeof a);
  content was[MOST_ARGUMENTS];
  const char *shape = shapes[id] + 1;
  for (int32_t i = 0; shape[i]; i++) {
    switch (shape[i]) {
      case 'h': a[i].number = handle_now(take_number()); break;
      case 'i': a[i].number = take_number(); break;
      case 'f': take(&a[i].single, sizeof a[i].single); break;
      case 'd': a[i].real = take_real(); break;
      default:
        was[i] = take_content();
        if (!was[i].bytes) break;
        a[i].bytes = malloc(was[i].size);
        if (shape[i] == '<') memcpy(a[i].bytes, was[i].bytes, was[i].size);
    }
  }
  if (is_call(id, "run_ops")) translate_list(a[0].bytes, was[0].size);
  const answer found = make_call(id, a);
  hold_answer(id, found);
  const bool is_done = shapes[id][0] == 'd' ? found.real >= 0 : found.number >= 0;
  for (int32_t i = 0; shape[i]; i++) {
    if (shape[i] == '>' && is_done && a[i].bytes) hold_bytes(id, i, a, was[i]);
    if (shape[i] == '<' || shape[i] == '>') free(a[i].bytes);
  }
}

static void replay_session(size_t offset, size_t size) {
  EXPECT(offset <= calls.size && size <= calls.size - offset);
  at = offset;
  n_made = 0;
  while (at < offset + size) {
    uint8_t id;
    take(&id, 1);
    if (id == TRUNCATION) {
      shorten_file();
      continue;
    }
    EXPECT(id < N_CALLS);
    n_made++;
    replay_call(id);
  }
  restore_files();
}

int main(int n_arguments, char **arguments) {
  EXPECT(n_arguments == 4);
  calls = read_file(arguments[1]);
  bytes = read_file(arguments[2]);
  FILE *list = fopen(arguments[3], "r");
  EXPECT(list);
  char name[200];
  size_t offset, size;
  int32_t n_sessions = 0;
  int64_t n_calls = 0;
  for (int fields; (fields = fscanf(list, "%zu %zu %199[^\n]", &offset, &size, name)) != EOF; n_sessions++, n_calls += n_made) {
    EXPECT(fields == 3);
    session = name;
    replay_session(offset, size);
  }
  fclose(list);
  free(calls.bytes), free(bytes.bytes), free(pairs);
  EXPECT(n_sessions > 0);
  printf("%d sessions, %lld calls\n", n_sessions, (long long)n_calls);
  return 0;
}
