/* Draws parts of a picture into arrays: crops, resizes, and turns levels into numbers, with the GIL released.
 *
 * Theory of operation. A part is a region of a picture, the size to which it is resized, and the window of the result
 * that an output array takes. Each axis of a part becomes a table of weights: output i is the weighted sum of `count`
 * neighbouring source pixels from `start` on. No result depends on the machine's vector width.
 *
 * There are two ways to the sums. Where each output takes FEW pixels, weights are 256ths and sums have 16 bits: first
 * across, each source row once, then down; levels are rounded in between, as Pillow does. Neighbouring outputs lie so
 * close together in their row that one shuffle of 16 bytes brings the pixels of about five of them into place. The
 * shuffles are the same for all rows. Otherwise sums are 32-bit floats, rounded once: first down, over whole source
 * rows, since a strong reduction leaves few of them, then across, with the colours of a pixel as one vector.
 *
 * A JPEG is decoded only where some part needs it: the rows above are skipped, those below are never read, and blocks
 * to the left and right are not transformed. Orientation never appears here: callers turn the output by its strides.
 *
 * draw_jpeg returns False for anything unusual (damage, warnings, CMYK, 12 bits): a more tolerant decoder then decides.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#if defined(__clang__) && defined(__aarch64__)
#include <arm_neon.h>
#endif

/* 2.0.6 fixed the last known faults of jpeg_skip_scanlines that matter here. */
#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 2000006
#error "tiering needs libjpeg-turbo 2.0.6 or later"
#endif

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "avx2", "ssse3", "default")))
#else
#define WIDE
#endif

typedef float vec4 __attribute__((vector_size(16)));
typedef uint8_t lanes8 __attribute__((vector_size(16)));
typedef uint16_t lanes16 __attribute__((vector_size(16)));
typedef uint16_t row16 __attribute__((vector_size(32)));

enum { NEAREST, BILINEAR, BICUBIC };
enum { LONGEST = 1 << 20, MARGIN = 2, SPARE = 4 };
/* FEW: the most pixels of a triangle that shrinks by two, or by three where pixels align. AHEAD: source rows that are
 * fetched before their use. */
enum { FEW = 5, LANES = 16, ROW = 32, ONE = 256, AHEAD = 2 };

/* The weights of one axis. Outputs first to last - 1 lie inside the resized region, the others outside. Outputs of an
 * axis whose stride is negative are stored in reverse, so that writing is always forward. */
typedef struct {
  int n, first, last;
  int from, to; /* the source pixels that have a weight */
  int plain;    /* every output is one pixel, and neighbours are neighbours */
  int taps;     /* room for each output's weights, at least SPARE; those that it does not need are 0 */
  int most;     /* the most weights of an output */
  int *start, *count;
  float *weight;
} Axis;

typedef struct {
  int32_t left, top, width, height; /* the region */
  int32_t wide, high, x, y;         /* the size of the resized region, and the output's corner in it */
  Py_buffer view;
  char *out;
  Py_ssize_t row_step, step, channel_step;
  int rows, columns, channels;
  int backward, upward;
  Axis across, down;
} Part;

typedef struct {
  int filter, antialias, itemsize;
  const char *table; /* [channels][256] numbers, or NULL for levels as they are */
} Look;

/* Pixels as they lie in memory, from (left, top) on; columns: in a row. */
typedef struct {
  const uint8_t *pixels;
  Py_ssize_t stride;
  int channels, left, top, columns;
} Source;

/* Neighbouring outputs of a row. Tap k of all of them lies in the LANES bytes from at + k pixels on, at `place`. */
typedef struct {
  int at, bytes;
  uint8_t place[LANES];
  uint16_t weight[FEW][2][LANES / 2]; /* of the low bytes of pairs, then of the high ones */
} Group;

/* A part that is drawn by sums of 16 bits. rows: the last source rows, resized across; held: which they are. */
typedef struct {
  Group *groups;
  uint8_t *rows;
  Py_ssize_t room;
  int count, taps, slots, held[FEW];
} Quick;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LOW_BYTE 1
#else
#define LOW_BYTE 0
#endif

/* ---- weights ---- */

static double kernel(int filter, double a, double x) {
  x = fabs(x);
  if (filter == BILINEAR) return x < 1 ? 1 - x : 0;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* floor, which compilers turn into a call where they may not assume SSE4.1. */
static int down_to_whole(double x) {
  int whole = (int)x;
  return whole - (x < whole);
}

static void free_axis(Axis *axis) {
  free(axis->start);
  free(axis->weight);
  memset(axis, 0, sizeof *axis);
}

/* begin, extent: the region on this axis, in pixels of the source, which may be scaled. low, high: the pixels that the
 * filter may see. Pillow's resize with antialias, torch's interpolate without. Returns 0 if memory runs out. */
static int make_axis(Axis *axis, double begin, double extent, int low, int high, int size, int corner, int n,
                     int reverse, const Look *look) {
  double scale = extent / size, wide = look->antialias && scale > 1 ? scale : 1;
  double support = look->filter == NEAREST ? 0.5 : (look->filter == BICUBIC ? 2 : 1) * wide;
  double a = look->antialias ? -0.5 : -0.75;
  axis->n = n;
  axis->taps = look->filter == NEAREST ? 1 : (int)ceil(support) * 2 + 1;
  if (axis->taps > high - low) axis->taps = high - low;
  if (axis->taps < SPARE) axis->taps = SPARE;
  if (n < 1 || size < 1 || high <= low || n > LONGEST || size > LONGEST) return 0;
  axis->start = malloc(sizeof(int) * 2 * (size_t)n);
  axis->weight = calloc((size_t)n * (size_t)axis->taps, sizeof(float));
  if (!axis->start || !axis->weight) return 0;
  axis->count = axis->start + n;
  long long first = -(long long)corner, last = (long long)size - corner; /* of the outputs, forward */
  if (first < 0) first = 0;
  if (last > n) last = n;
  if (last < first) first = last = 0;
  axis->first = (int)(reverse ? n - last : first);
  axis->last = (int)(reverse ? n - first : last);
  axis->from = INT_MAX, axis->to = 0, axis->most = 1;
  axis->plain = scale == 1 && begin == floor(begin);
  for (int i = axis->first; i < axis->last; i++) {
    float *weight = axis->weight + (size_t)i * axis->taps;
    double center = begin + (corner + (reverse ? n - 1 - i : i) + 0.5) * scale, sum = 0;
    int start, stop;
    if (look->filter == NEAREST || axis->plain) {
      start = down_to_whole(center);
      start = start < low ? low : start >= high ? high - 1 : start;
      stop = start + 1;
      weight[0] = 1;
    } else {
      int begins = down_to_whole(center - support + 0.5), ends = down_to_whole(center + support + 0.5);
      start = begins < low ? low : begins >= high ? high - 1 : begins;
      stop = ends > high ? high : ends <= start ? start + 1 : ends;
      if (stop - start > axis->taps) stop = start + axis->taps;
      for (int k = start; k < stop; k++) {
        double w = kernel(look->filter, a, (k + 0.5 - center) / wide);
        if (!look->antialias && k == start)
          for (int j = begins; j < start; j++) w += kernel(look->filter, a, (j + 0.5 - center) / wide);
        if (!look->antialias && k == stop - 1)
          for (int j = stop; j < ends; j++) w += kernel(look->filter, a, (j + 0.5 - center) / wide);
        weight[k - start] = (float)w;
        sum += w;
      }
      if (sum == 0) weight[0] = 1, stop = start + 1, sum = 1;
      for (int k = 0; k < stop - start; k++) weight[k] = (float)(weight[k] / sum);
      while (stop - start > 1 && weight[stop - start - 1] == 0) stop--;
      if (stop - start > axis->most) axis->most = stop - start;
    }
    axis->start[i] = start;
    axis->count[i] = stop - start;
    if (start < axis->from) axis->from = start;
    if (stop > axis->to) axis->to = stop;
  }
  if (axis->first == axis->last) axis->from = axis->to = low;
  return 1;
}

/* ---- sums ---- */

/* sums[i] = the weighted sum of `count` rows, at i. */
WIDE static void add_rows(float *restrict sums, const uint8_t *restrict row, Py_ssize_t stride, const float *weight,
                          int count, int n) {
  const uint8_t *restrict b = count > 1 ? row + stride : row, *restrict c = count > 2 ? b + stride : b,
                         *restrict d = count > 3 ? c + stride : c;
  float p = weight[0], q, r, s;
  switch (count) {
    case 1:
      for (int i = 0; i < n; i++) sums[i] = p * row[i];
      return;
    case 2:
      q = weight[1];
      for (int i = 0; i < n; i++) sums[i] = p * row[i] + q * b[i];
      return;
    case 3:
      q = weight[1], r = weight[2];
      for (int i = 0; i < n; i++) sums[i] = p * row[i] + q * b[i] + r * c[i];
      return;
    default:
      q = weight[1], r = weight[2], s = weight[3];
      for (int i = 0; i < n; i++) sums[i] = p * row[i] + q * b[i] + r * c[i] + s * d[i];
  }
  for (int k = 4; k < count; k++) {
    const uint8_t *restrict next = row + k * stride;
    p = weight[k];
    for (int i = 0; i < n; i++) sums[i] += p * next[i];
  }
}

static inline vec4 load(const float *from) {
  vec4 v;
  memcpy(&v, from, sizeof v);
  return v;
}

/* One output of `taps` pixels a step `channels` apart: three colours and one number to ignore, or four. */
#define COLUMNS(TAPS)                                                                                     \
  for (int i = axis->first; i < axis->last; i++, to += 4) {                                               \
    const float *w = axis->weight + (size_t)i * axis->taps;                                               \
    const float *at = sums + (Py_ssize_t)(axis->start[i] - axis->from) * channels;                        \
    vec4 sum = w[0] * load(at);                                                                           \
    for (int k = 1; k < (TAPS); k++) sum += w[k] * load(at + (Py_ssize_t)k * channels);                   \
    memcpy(to, &sum, sizeof sum);                                                                         \
  }

WIDE static void add_columns(float *restrict to, const float *restrict sums, const Axis *axis, int channels) {
  switch (axis->most) {
    case 1:
      COLUMNS(1) return;
    case 2:
      COLUMNS(2) return;
    case 3:
      COLUMNS(3) return;
    case 4:
      COLUMNS(4) return;
    default:
      COLUMNS(axis->count[i])
  }
}

static void add_columns_of_any(float *restrict to, const float *restrict sums, const Axis *axis, int channels) {
  for (int i = axis->first; i < axis->last; i++)
    for (int c = 0; c < channels; c++) {
      const float *w = axis->weight + (size_t)i * axis->taps;
      const float *at = sums + (Py_ssize_t)(axis->start[i] - axis->from) * channels + c;
      float sum = w[0] * at[0];
      for (int k = 1; k < axis->count[i]; k++) sum += w[k] * at[(Py_ssize_t)k * channels];
      *to++ = sum;
    }
}

/* Round to levels from 0 to 255. */
WIDE static void to_levels(uint8_t *restrict to, const float *restrict from, int n) {
  for (int i = 0; i < n; i++) {
    int level = (int)(from[i] + 0.5f);
    level = level > 0 ? level : 0;
    to[i] = (uint8_t)(level < 255 ? level : 255);
  }
}

/* ---- sums of 16 bits ---- */

static inline __attribute__((always_inline)) lanes8 load8(const uint8_t *from) {
  lanes8 v;
  memcpy(&v, from, sizeof v);
  return v;
}

/* v at each place: one instruction with SSSE3 and later, and on ARM. */
static inline __attribute__((always_inline)) lanes8 shuffled(lanes8 v, lanes8 place) {
#if defined(__GNUC__) && !defined(__clang__)
  return __builtin_shuffle(v, place);
#elif defined(__aarch64__)
  return (lanes8)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)place);
#else
  lanes8 to;
  for (int i = 0; i < LANES; i++) to[i] = v[place[i]];
  return to;
#endif
}

/* Each case has a constant number of taps, so that compilers keep the sums in registers. */
#define BY_TAPS(TAPS, RUN) \
  switch (TAPS) {          \
    case 1: RUN(1) break;  \
    case 2: RUN(2) break;  \
    case 3: RUN(3) break;  \
    case 4: RUN(4) break;  \
    default: RUN(FEW)      \
  }

/* A row of levels, resized across. Writes up to LANES bytes more than the row has. Pairs of bytes are numbers of 16
 * bits: low and high bytes are summed apart, and the upper halves of the sums lie where the bytes were. */
WIDE static void resize_row(uint8_t *restrict to, const uint8_t *restrict from, const Group *restrict group, int count,
                            int taps, int channels) {
#define RUN(TAPS)                                                                                              \
  for (int i = 0; i < count; to += group[i++].bytes) {                                                         \
    lanes16 low = (lanes16){} + ONE / 2, high = low;                                                           \
    for (int k = 0; k < (TAPS); k++) {                                                                         \
      lanes16 pairs = (lanes16)shuffled(load8(from + group[i].at + k * channels), load8(group[i].place));      \
      low += (pairs & 255) * (lanes16)load8((const uint8_t *)group[i].weight[k][0]);                           \
      high += (pairs >> 8) * (lanes16)load8((const uint8_t *)group[i].weight[k][1]);                           \
    }                                                                                                          \
    low = low >> 8 | (high & 0xff00);                                                                          \
    memcpy(to, &low, sizeof low);                                                                              \
  }
  BY_TAPS(taps, RUN)
#undef RUN
}

/* The weighted sum of rows. Reads and writes up to ROW bytes more than the n of a row. */
WIDE static void mix_rows(uint8_t *restrict to, const uint8_t *const *rows, const uint16_t *weight, int count, int n) {
#define RUN(TAPS)                                                 \
  for (int i = 0; i < n; i += ROW) {                              \
    row16 low = (row16){} + ONE / 2, high = low, pairs;           \
    for (int k = 0; k < (TAPS); k++) {                            \
      memcpy(&pairs, rows[k] + i, sizeof pairs);                  \
      low += (pairs & 255) * weight[k];                           \
      high += (pairs >> 8) * weight[k];                           \
    }                                                             \
    low = low >> 8 | (high & 0xff00);                             \
    memcpy(to + i, &low, sizeof low);                             \
  }
  BY_TAPS(count, RUN)
#undef RUN
}

/* Weights as 256ths that add up to 1. Their running sum is rounded, so that errors do not add up. */
static void to_256ths(uint16_t *to, const float *weight, int count) {
  float sum = 0;
  int before = 0;
  for (int k = 0; k < count; k++) {
    sum += weight[k];
    int rounded = k + 1 < count ? (int)(sum * ONE + 0.5f) : ONE;
    to[k] = (uint16_t)(rounded - before);
    before = rounded;
  }
}

static void group_outputs(Quick *quick, const Axis *axis, const Source *source) {
  int channels = source->channels, most = LANES / channels, taps = quick->taps;
  int last_start = source->left + source->columns - taps, last_at = (source->columns - taps + 1) * channels - LANES;
  for (int i = axis->first, next; i < axis->last; i = next) {
    Group *group = &quick->groups[quick->count++];
    int low = axis->start[i], high = low;
    for (next = i + 1; next < axis->last && next - i < most; next++) {
      int start = axis->start[next];
      if (((start > high ? start : high) - (start < low ? start : low) + 1) * channels > LANES) break;
      if (start > high) high = start;
      if (start < low) low = start;
    }
    memset(group, 0, sizeof *group);
    /* Nothing is read behind the end of a row: there the taps begin earlier, with weights of 0. */
    group->at = ((low < last_start ? low : last_start) - source->left) * channels;
    if (group->at > last_at) group->at = last_at;
    group->bytes = (next - i) * channels;
    for (int j = i; j < next; j++) {
      int start = axis->start[j] < last_start ? axis->start[j] : last_start, lane = (j - i) * channels;
      uint16_t weight[FEW];
      to_256ths(weight, axis->weight + (size_t)j * axis->taps, axis->count[j]);
      for (int c = 0; c < channels; c++, lane++) {
        group->place[lane] = (uint8_t)((start - source->left) * channels + c - group->at);
        for (int k = 0; k < axis->count[j]; k++)
          group->weight[axis->start[j] - start + k][(lane & 1) != LOW_BYTE][lane / 2] = weight[k];
      }
    }
  }
}

/* Whether a part can be drawn by sums of 16 bits. */
static int suits_quick(const Part *part, const Source *source, const Look *look) {
  int taps = part->across.most;
  return look->filter == BILINEAR && source->channels <= 4 && taps <= FEW && part->down.most <= FEW &&
         part->across.first < part->across.last && (source->columns - taps + 1) * source->channels >= LANES;
}

/* Prepare to draw such a part. Returns 0 if memory runs out. */
static int make_quick(Quick *quick, const Part *part, const Source *source) {
  int n = part->across.last - part->across.first;
  quick->taps = part->across.most, quick->slots = part->down.most;
  quick->room = ((Py_ssize_t)n * source->channels + 2 * ROW - 1) / ROW * ROW;
  quick->groups = malloc(sizeof(Group) * (size_t)n);
  quick->rows = malloc((size_t)quick->room * (size_t)(quick->slots + 1));
  if (!quick->groups || !quick->rows) return 0;
  group_outputs(quick, &part->across, source);
  for (int i = 0; i < FEW; i++) quick->held[i] = -1;
  return 1;
}

static void free_quick(Quick *quick) {
  free(quick->groups);
  free(quick->rows);
}

/* Output row y as levels. */
static const uint8_t *quick_row(Quick *quick, const Part *part, const Source *source, int y) {
  const Axis *down = &part->down;
  const uint8_t *rows[FEW];
  uint16_t weight[FEW];
  int count = down->count[y];
  for (int k = 0; k < count; k++) {
    int row = down->start[y] + k, slot = row % quick->slots;
    uint8_t *held = quick->rows + slot * quick->room;
    if (quick->held[slot] != row) {
      const uint8_t *from = source->pixels + (Py_ssize_t)(row - source->top) * source->stride;
      for (int i = part->across.from - source->left; i < part->across.to - source->left; i += 16)
        __builtin_prefetch(from + AHEAD * source->stride + (Py_ssize_t)i * source->channels);
      resize_row(held, from, quick->groups, quick->count, quick->taps, source->channels);
      quick->held[slot] = row;
    }
    rows[k] = held;
  }
  if (count == 1) return rows[0];
  to_256ths(weight, down->weight + (size_t)y * down->taps, count);
  uint8_t *mixed = quick->rows + quick->slots * quick->room;
  mix_rows(mixed, rows, weight, count, (part->across.last - part->across.first) * source->channels);
  return mixed;
}

/* ---- writing ---- */

/* One row of one channel. from: levels, `skip` bytes apart, or the same one again for skip 0. */
#define WRITE_BY(TYPE, VALUE, STEP)                                               \
  for (int i = 0; i < n; i++, to += (STEP), from += skip) {                       \
    TYPE value = VALUE;                                                           \
    memcpy(to, &value, sizeof value);                                             \
  }
/* A step that compilers know saves a fifth of the time of float planes. */
#define WRITE(TYPE, VALUE)                                                        \
  if (step == sizeof(TYPE)) WRITE_BY(TYPE, VALUE, sizeof(TYPE))                   \
  else WRITE_BY(TYPE, VALUE, step)

static void write_plane(char *to, Py_ssize_t step, const uint8_t *from, int skip, int n, const void *table,
                        int itemsize) {
  if (itemsize == 1) {
    if (table) {
      const uint8_t *t = table;
      WRITE(uint8_t, t[*from])
    } else {
      WRITE(uint8_t, *from)
    }
  } else if (itemsize == 2) {
    const uint16_t *t = table;
    WRITE(uint16_t, t[*from])
  } else {
    const uint32_t *t = table;
    WRITE(uint32_t, t[*from])
  }
}

/* Three planes of bytes from pixels of four. */
WIDE static void split4(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b, const uint32_t *restrict from,
                        int n) {
  for (int i = 0; i < n; i++) r[i] = (uint8_t)from[i];
  for (int i = 0; i < n; i++) g[i] = (uint8_t)(from[i] >> 8);
  for (int i = 0; i < n; i++) b[i] = (uint8_t)(from[i] >> 16);
}

/* The same from pixels of three. */
WIDE static void split3(uint8_t *restrict r, uint8_t *restrict g, uint8_t *restrict b, const uint8_t *restrict from,
                        int n) {
  int i = 0;
#if defined(__GNUC__) && !defined(__clang__)
/* Bytes c, c + 3, c + 6 and so on of three times 16. */
#define EVERY_THIRD(C)                                                                                        \
  __builtin_shuffle(__builtin_shuffle(one, two, (lanes8){C, C + 3, C + 6, C + 9, C + 12, C + 15, C + 18, C + 21, \
                                                         C + 24, C + 27, (C + 30) & 31}),                     \
                    three, (lanes8){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, C + 30 < 32 ? 10 : C + 14, C + 17, C + 20, C + 23, \
                                    C + 26, C + 29})
  for (; i + LANES <= n; i += LANES) {
    lanes8 one = load8(from + 3 * i), two = load8(from + 3 * i + LANES), three = load8(from + 3 * i + 2 * LANES);
    lanes8 red = EVERY_THIRD(0), green = EVERY_THIRD(1), blue = EVERY_THIRD(2);
    memcpy(r + i, &red, sizeof red), memcpy(g + i, &green, sizeof green), memcpy(b + i, &blue, sizeof blue);
  }
#endif
  for (; i < n; i++) r[i] = from[3 * i], g[i] = from[3 * i + 1], b[i] = from[3 * i + 2];
}

/* The numbers of the levels of one channel; NULL for levels as they are. */
static const char *numbers_of(const Look *look, int channel) {
  return look->table ? look->table + (size_t)channel * 256 * look->itemsize : NULL;
}

/* Outputs [first, first + n) of one row. from: levels, `skip` bytes a pixel, of `channels` channels. */
static void write_row(const Part *part, const Look *look, char *row, int first, int n, const uint8_t *from, int skip,
                      int channels) {
  char *to = row + first * part->step;
  if (n <= 0) return;
  if (look->itemsize == 1 && !look->table && part->channels == 3 && channels == 3 && part->step == 1) {
    uint8_t *r = (uint8_t *)to, *g = r + part->channel_step, *b = g + part->channel_step;
    if (skip == 4) split4(r, g, b, (const uint32_t *)(const void *)from, n);
    else split3(r, g, b, from, n);
    return;
  }
  if (look->itemsize == 1 && !look->table && part->channels == 3 && channels == 3 && part->step == 3 &&
      part->channel_step == 1) {
    if (skip == 3) memcpy(to, from, 3 * (size_t)n);
    else {
      for (int i = 0; i < n - 1; i++) memcpy(to + 3 * i, from + 4 * i, 4);
      memcpy(to + 3 * (n - 1), from + 4 * (n - 1), 3);
    }
    return;
  }
  for (int c = 0; c < part->channels; c++)
    write_plane(to + c * part->channel_step, part->step, from + (channels == 1 ? 0 : c), skip, n, numbers_of(look, c),
                look->itemsize);
}

static void fill(const Part *part, const Look *look, char *row, int first, int last) {
  static const uint8_t zero = 0;
  for (int c = 0; c < part->channels && last > first; c++)
    write_plane(row + first * part->step + c * part->channel_step, part->step, &zero, 0, last - first,
                numbers_of(look, c), look->itemsize);
}

/* Draw one part. Returns 0 if memory runs out. */
static int draw(const Part *part, const Source *source, const Look *look) {
  const Axis *across = &part->across, *down = &part->down;
  int channels = source->channels, width = across->to - across->from, n = across->last - across->first;
  int plain = across->plain && down->plain, quads = channels == 3 || channels == 4;
  Quick quick = {0};
  int quickly = !plain && suits_quick(part, source, look), summed = !plain && !quickly;
  int skip = quads && summed ? 4 : channels;
  size_t levels = (size_t)n * skip, pad = (size_t)SPARE * channels + 4;
  size_t floats = summed ? (size_t)width * channels + pad + levels : 0;
  float *sums = malloc(sizeof(float) * floats + levels + 16), *drawn = sums + (summed ? floats - levels : 0);
  if (!sums || (quickly && !make_quick(&quick, part, source))) {
    free(sums);
    free_quick(&quick);
    return 0;
  }
  uint8_t *bytes = (uint8_t *)(sums + floats);
  if (summed) memset(drawn - pad, 0, sizeof(float) * pad);
  for (int y = 0; y < down->n; y++) {
    char *row = part->out + y * part->row_step;
    if (y < down->first || y >= down->last) {
      fill(part, look, row, 0, across->n);
      continue;
    }
    fill(part, look, row, 0, across->first);
    fill(part, look, row, across->last, across->n);
    const uint8_t *from = source->pixels + (Py_ssize_t)(down->start[y] - source->top) * source->stride +
                          (Py_ssize_t)(across->from - source->left) * channels;
    if (quickly) {
      from = quick_row(&quick, part, source, y);
    } else if (summed) {
      add_rows(sums, from, source->stride, down->weight + (size_t)y * down->taps, down->count[y], width * channels);
      (quads ? add_columns : add_columns_of_any)(drawn, sums, across, channels);
      to_levels(bytes, drawn, (int)levels);
      from = bytes;
    } else if (part->backward) {
      for (int i = 0; i < n; i++)
        memcpy(bytes + (size_t)i * channels, from + (size_t)(n - 1 - i) * channels, (size_t)channels);
      from = bytes;
    }
    write_row(part, look, row, across->first, n, from, skip, channels);
  }
  free(sums);
  free_quick(&quick);
  return 1;
}

/* ---- parts ---- */

/* By how much a JPEG may be scaled down in decoding: the rule of _reduction in picture.py. */
static int by_of(const Part *parts, Py_ssize_t n, const Look *look) {
  int by = look->antialias && look->filter != NEAREST ? 8 : 1;
  for (Py_ssize_t i = 0; i < n; i++) /* never less than four times the size needed */
    while (by > 1 && ((long long)parts[i].width < 4LL * by * parts[i].wide ||
                      (long long)parts[i].height < 4LL * by * parts[i].high))
      by /= 2;
  return by;
}

/* Make the axes of all parts, over a picture scaled down `by` times. box: the union of what they need. */
static int make_axes(Part *parts, Py_ssize_t n, int by, const Look *look, int box[4]) {
  box[0] = box[1] = INT_MAX, box[2] = box[3] = 0;
  for (Py_ssize_t i = 0; i < n; i++) {
    Part *p = &parts[i];
    double left = (double)p->left / by, top = (double)p->top / by;
    if (!make_axis(&p->across, left, (double)p->width / by, p->left / by, (p->left + p->width + by - 1) / by, p->wide,
                   p->x, p->columns, p->backward, look) ||
        !make_axis(&p->down, top, (double)p->height / by, p->top / by, (p->top + p->height + by - 1) / by, p->high,
                   p->y, p->rows, p->upward, look))
      return 0;
    if (p->across.first == p->across.last || p->down.first == p->down.last) { /* all of it is outside */
      p->down.first = p->down.last = p->across.first = p->across.last = 0;
      p->across.from = p->across.to = p->down.from = p->down.to = 0;
      continue;
    }
    if (p->across.from < box[0]) box[0] = p->across.from;
    if (p->across.to > box[2]) box[2] = p->across.to;
    if (p->down.from < box[1]) box[1] = p->down.from;
    if (p->down.to > box[3]) box[3] = p->down.to;
  }
  return 1;
}

/* ---- JPEG ---- */

typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf escape;
} Errors;

static void on_error(j_common_ptr info) { longjmp(((Errors *)info->err)->escape, 1); }

static void on_message(j_common_ptr info, int level) {
  if (level < 0) on_error(info); /* a warning: some data were damaged */
}

typedef struct {
  struct jpeg_decompress_struct info;
  Errors errors;
  uint8_t *pixels;
  Source source;
} Jpeg;

enum { DRAWN = 1, UNUSUAL = 0, NO_MEMORY = -1 };

/* Whether cropping is exact: libjpeg-turbo before 3.0 had faults with other factors. */
static int may_crop(const struct jpeg_decompress_struct *info) {
  for (int i = 0; i < info->num_components; i++)
    if (info->max_h_samp_factor % info->comp_info[i].h_samp_factor ||
        info->max_v_samp_factor % info->comp_info[i].v_samp_factor)
      return 0;
  return info->max_h_samp_factor <= 2 && info->max_v_samp_factor <= 2;
}

/* Decode at least the box of a picture scaled down `by` times. Leaves by longjmp if the data are damaged. */
static int decode_box(Jpeg *jpeg, const int box[4], int by) {
  struct jpeg_decompress_struct *info = &jpeg->info;
  info->scale_num = 1, info->scale_denom = (unsigned)by;
  info->out_color_space = JCS_RGB;
  info->dct_method = JDCT_ISLOW;
  if (!jpeg_start_decompress(info)) return UNUSUAL;
  int width = (int)info->output_width, height = (int)info->output_height;
  if (box[2] > width || box[3] > height || info->output_components != 3) return UNUSUAL;
  JDIMENSION left = 0;
  if (may_crop(info)) {
    /* The last columns of a crop have no neighbour to take their colour from. */
    int from = box[0] > MARGIN ? box[0] - MARGIN : 0, to = box[2] < width - MARGIN ? box[2] + MARGIN : width;
    JDIMENSION wanted = (JDIMENSION)(to - from);
    left = (JDIMENSION)from;
    if (to - from < width) jpeg_crop_scanline(info, &left, &wanted);
  }
  size_t stride = (size_t)info->output_width * 3;
  jpeg->pixels = malloc(stride * (size_t)(box[3] - box[1]) + 16);
  if (!jpeg->pixels) return NO_MEMORY;
  if (box[1] && jpeg_skip_scanlines(info, (JDIMENSION)box[1]) != (JDIMENSION)box[1]) return UNUSUAL;
  while (info->output_scanline < (JDIMENSION)box[3]) {
    JSAMPROW rows[8];
    JDIMENSION left_over = (JDIMENSION)box[3] - info->output_scanline, n = left_over < 8 ? left_over : 8;
    for (JDIMENSION i = 0; i < n; i++)
      rows[i] = jpeg->pixels + stride * (info->output_scanline + i - (JDIMENSION)box[1]);
    if (!jpeg_read_scanlines(info, rows, n)) return UNUSUAL;
  }
  /* With the last row read, a missing end is damage that the other decoders would see, too. */
  if (info->output_scanline == info->output_height) jpeg_finish_decompress(info);
  jpeg->source = (Source){jpeg->pixels, (Py_ssize_t)stride, 3, (int)left, box[1], (int)info->output_width};
  return DRAWN;
}

static int draw_boxes(Jpeg *jpeg, const Py_buffer *data, int width, int height, Part *parts, Py_ssize_t n,
                      const Look *look) {
  struct jpeg_decompress_struct *info = &jpeg->info;
  jpeg_create_decompress(info);
  jpeg_mem_src(info, data->buf, (unsigned long)data->len);
  if (jpeg_read_header(info, TRUE) != JPEG_HEADER_OK) return UNUSUAL;
  if ((int)info->image_width != width || (int)info->image_height != height || info->data_precision != 8)
    return UNUSUAL;
  if (info->jpeg_color_space != JCS_GRAYSCALE && info->jpeg_color_space != JCS_YCbCr &&
      info->jpeg_color_space != JCS_RGB)
    return UNUSUAL;
  int box[4], by = by_of(parts, n, look), done = DRAWN;
  if (!make_axes(parts, n, by, look, box)) return NO_MEMORY;
  if (box[2] && (done = decode_box(jpeg, box, by)) != DRAWN) return done;
  for (Py_ssize_t i = 0; i < n && done == DRAWN; i++)
    if (!draw(&parts[i], &jpeg->source, look)) done = NO_MEMORY;
  return done;
}

static int with_jpeg(const Py_buffer *data, int width, int height, Part *parts, Py_ssize_t n, const Look *look) {
  Jpeg *jpeg = calloc(1, sizeof *jpeg); /* on the heap: longjmp leaves it as it is */
  int done;
  if (!jpeg) return NO_MEMORY;
  jpeg->info.err = jpeg_std_error(&jpeg->errors.base);
  jpeg->errors.base.error_exit = on_error;
  jpeg->errors.base.emit_message = on_message;
  jpeg->source.channels = 3;
  if (setjmp(jpeg->errors.escape))
    done = jpeg->errors.base.msg_code == JERR_OUT_OF_MEMORY ? NO_MEMORY : UNUSUAL;
  else
    done = draw_boxes(jpeg, data, width, height, parts, n, look);
  jpeg_destroy_decompress(&jpeg->info);
  free(jpeg->pixels);
  free(jpeg);
  return done;
}

/* ---- Python ---- */

static void free_parts(Part *parts, Py_ssize_t n) {
  for (Py_ssize_t i = 0; parts && i < n; i++) {
    if (parts[i].view.obj) PyBuffer_Release(&parts[i].view);
    free_axis(&parts[i].across);
    free_axis(&parts[i].down);
  }
  free(parts);
}

/* Place the output of a part, forward: the axes are stored in reverse where a step is negative. */
static void place(Part *part, char *out, Py_ssize_t row_step, Py_ssize_t step, Py_ssize_t channel_step) {
  part->upward = row_step < 0;
  part->backward = step < 0;
  part->out = out + (part->upward ? (part->rows - 1) * row_step : 0) + (part->backward ? (part->columns - 1) * step : 0);
  part->row_step = part->upward ? -row_step : row_step;
  part->step = part->backward ? -step : step;
  part->channel_step = channel_step;
}

static int is_long(const Py_buffer *view) {
  for (int i = 0; i < view->ndim; i++)
    if (view->shape[i] < 1 || view->shape[i] > LONGEST) return 1;
  return 0;
}

/* Whether the pixels of a row lie one after another. Steps along an axis of one element mean nothing. */
static int in_rows(const Py_buffer *pixels) {
  int x = pixels->ndim - 2, c = pixels->ndim - 1;
  return pixels->itemsize == 1 && (pixels->shape[c] == 1 || pixels->strides[c] == 1) &&
         (pixels->shape[x] == 1 || pixels->strides[x] == pixels->shape[c]);
}

static int read_view(Part *part, PyObject *out, const Look *look) {
  Py_buffer *view = &part->view;
  if (PyObject_GetBuffer(out, view, PyBUF_STRIDES | PyBUF_WRITABLE)) return 0;
  if (view->ndim != 3 || view->itemsize != look->itemsize || is_long(view)) {
    PyErr_SetString(PyExc_ValueError, "out: expected an array (height, width, channels) of the table's type");
    return 0;
  }
  part->rows = (int)view->shape[0], part->columns = (int)view->shape[1], part->channels = (int)view->shape[2];
  place(part, view->buf, view->strides[0], view->strides[1], view->strides[2]);
  return 1;
}

static int part_fits(const Part *p, int width, int height, int channels) {
  if (p->left < 0 || p->top < 0 || p->width < 1 || p->height < 1 || p->left > width - p->width ||
      p->top > height - p->height || p->wide < 1 || p->high < 1 || p->wide > LONGEST || p->high > LONGEST ||
      p->x < -LONGEST || p->y < -LONGEST || p->x > LONGEST || p->y > LONGEST)
    PyErr_SetString(PyExc_ValueError, "geometry: expected a region inside the picture, and sides up to 2^20");
  else if (channels != 1 && p->channels > channels)
    PyErr_SetString(PyExc_ValueError, "out: more channels than the picture");
  else
    return 1;
  return 0;
}

/* parts: a list of (left, top, width, height, size's width, size's height, corner's x and y, out). */
static Part *read_parts(PyObject *list, int width, int height, int channels, const Look *look, Py_ssize_t *n) {
  *n = PyList_Size(list);
  if (*n < 0) return NULL;
  Part *parts = calloc((size_t)*n + 1, sizeof *parts);
  if (!parts) return (Part *)PyErr_NoMemory();
  for (Py_ssize_t i = 0; i < *n; i++) {
    Part *p = &parts[i];
    PyObject *out;
    if (!PyArg_ParseTuple(PyList_GetItem(list, i), "iiiiiiiiO", &p->left, &p->top, &p->width, &p->height, &p->wide,
                          &p->high, &p->x, &p->y, &out) ||
        !read_view(p, out, look) || !part_fits(p, width, height, channels))
      goto failed;
  }
  return parts;
failed:
  free_parts(parts, *n);
  return NULL;
}

/* table: None, or the numbers of all 256 levels for each channel. */
static int read_look(Look *look, PyObject *table, Py_buffer *view) {
  look->itemsize = 1;
  if (table == Py_None) return 1;
  if (PyObject_GetBuffer(table, view, PyBUF_ND)) return 0;
  look->itemsize = (int)view->itemsize;
  look->table = view->buf;
  if (view->ndim == 2 && view->shape[1] == 256 && (view->itemsize == 1 || view->itemsize == 2 || view->itemsize == 4))
    return 1;
  PyErr_SetString(PyExc_ValueError, "table: expected (channels, 256) numbers of 1, 2 or 4 bytes");
  return 0;
}

static int table_fits(const Look *look, const Py_buffer *table, const Part *parts, Py_ssize_t n) {
  for (Py_ssize_t i = 0; look->table && i < n; i++)
    if (parts[i].channels > table->shape[0]) {
      PyErr_SetString(PyExc_ValueError, "table: fewer channels than out");
      return 0;
    }
  return 1;
}

static PyObject *draw_jpeg(PyObject *Py_UNUSED(module), PyObject *args) {
  Py_buffer data = {0}, view = {0};
  PyObject *list, *table, *answer = NULL;
  int width, height, done = UNUSUAL;
  Py_ssize_t n = 0;
  Look look = {0};
  Part *parts = NULL;
  if (!PyArg_ParseTuple(args, "y*iiO!Oip", &data, &width, &height, &PyList_Type, &list, &table, &look.filter,
                        &look.antialias))
    return NULL;
  if (read_look(&look, table, &view) && (parts = read_parts(list, width, height, 3, &look, &n)) &&
      table_fits(&look, &view, parts, n)) {
    Py_BEGIN_ALLOW_THREADS
    done = with_jpeg(&data, width, height, parts, n, &look);
    Py_END_ALLOW_THREADS
    answer = done == NO_MEMORY ? PyErr_NoMemory() : PyBool_FromLong(done == DRAWN);
  }
  free_parts(parts, n);
  if (view.obj) PyBuffer_Release(&view);
  PyBuffer_Release(&data);
  return answer;
}

static PyObject *draw_pixels(PyObject *Py_UNUSED(module), PyObject *args) {
  Py_buffer pixels = {0}, view = {0};
  PyObject *picture, *list, *table, *answer = NULL;
  int done = 1, box[4];
  Py_ssize_t n = 0;
  Look look = {0};
  Part *parts = NULL;
  if (!PyArg_ParseTuple(args, "OO!Oip", &picture, &PyList_Type, &list, &table, &look.filter, &look.antialias) ||
      PyObject_GetBuffer(picture, &pixels, PyBUF_STRIDES))
    return NULL;
  if (pixels.ndim != 3 || is_long(&pixels) || !in_rows(&pixels))
    PyErr_SetString(PyExc_ValueError, "pixels: expected uint8 rows (height, width, channels)");
  else if (read_look(&look, table, &view) &&
           (parts = read_parts(list, (int)pixels.shape[1], (int)pixels.shape[0], (int)pixels.shape[2], &look, &n)) &&
           table_fits(&look, &view, parts, n)) {
    Source source = {pixels.buf, pixels.strides[0], (int)pixels.shape[2], 0, 0, (int)pixels.shape[1]};
    Py_BEGIN_ALLOW_THREADS
    done = make_axes(parts, n, 1, &look, box);
    for (Py_ssize_t i = 0; i < n && done; i++) done = draw(&parts[i], &source, &look);
    Py_END_ALLOW_THREADS
    answer = done ? Py_NewRef(Py_None) : PyErr_NoMemory();
  }
  free_parts(parts, n);
  if (view.obj) PyBuffer_Release(&view);
  PyBuffer_Release(&pixels);
  return answer;
}

/* Pictures of decoded pixels, and the buffers that hold them: one for all, or one for each. */
typedef struct {
  Py_ssize_t n, held;
  Source *sources;
  int *heights;
  Py_buffer *views;
} Pictures;

static void free_pictures(Pictures *pictures) {
  for (Py_ssize_t i = 0; i < pictures->held; i++)
    if (pictures->views[i].obj) PyBuffer_Release(&pictures->views[i]);
  free(pictures->sources);
  free(pictures->heights);
  free(pictures->views);
}

/* given: an array (n, height, width, channels), or a list of n arrays (height, width, channels). */
static int read_pictures(Pictures *pictures, PyObject *given) {
  int listed = PyList_Check(given), sides = listed ? 3 : 4;
  Py_ssize_t held = listed ? PyList_Size(given) : 1;
  if (!(pictures->views = calloc((size_t)held + 1, sizeof(Py_buffer)))) goto no_memory;
  pictures->n = pictures->held = held;
  for (Py_ssize_t i = 0; i < held; i++) {
    Py_buffer *view = &pictures->views[i];
    if (PyObject_GetBuffer(listed ? PyList_GetItem(given, i) : given, view, PyBUF_STRIDES)) return 0;
    if (view->ndim != sides || is_long(view) || !in_rows(view)) {
      PyErr_SetString(PyExc_ValueError, "pixels: expected uint8 rows of pictures (height, width, channels)");
      return 0;
    }
  }
  if (!listed) pictures->n = pictures->views->shape[0];
  pictures->sources = malloc(sizeof(Source) * (size_t)(pictures->n + 1));
  pictures->heights = malloc(sizeof(int) * (size_t)(pictures->n + 1));
  if (!pictures->sources || !pictures->heights) goto no_memory;
  for (Py_ssize_t i = 0; i < pictures->n; i++) {
    const Py_buffer *view = &pictures->views[listed ? i : 0];
    const Py_ssize_t *shape = view->shape + sides - 3;
    const uint8_t *pixels = (const uint8_t *)view->buf + (listed ? 0 : i * view->strides[0]);
    pictures->sources[i] = (Source){pixels, view->strides[sides - 3], (int)shape[2], 0, 0, (int)shape[1]};
    pictures->heights[i] = (int)shape[0];
  }
  return 1;
no_memory:
  PyErr_NoMemory();
  return 0;
}

/* pixels: as read_pictures takes them. geometries: int32 (n, 8), the numbers of a part. mirrored: n bytes, 1 where the
 * output is mirrored. out: (n, rows, columns, channels). */
static PyObject *draw_batch(PyObject *Py_UNUSED(module), PyObject *args) {
  Py_buffer geometries = {0}, mirrored = {0}, out = {0}, view = {0};
  PyObject *pixels, *numbers, *mirrors, *outputs, *table, *answer = NULL;
  int done = 1, box[4];
  Py_ssize_t n = 0;
  Look look = {0};
  Pictures pictures = {0};
  Part *parts = NULL;
  if (!PyArg_ParseTuple(args, "OOOOOip", &pixels, &numbers, &mirrors, &outputs, &table, &look.filter, &look.antialias))
    return NULL;
  if (!read_pictures(&pictures, pixels) || PyObject_GetBuffer(numbers, &geometries, PyBUF_ND) ||
      PyObject_GetBuffer(mirrors, &mirrored, PyBUF_ND) ||
      PyObject_GetBuffer(outputs, &out, PyBUF_STRIDES | PyBUF_WRITABLE) || !read_look(&look, table, &view))
    goto release;
  n = pictures.n;
  if (out.ndim != 4 || out.shape[0] != n || out.itemsize != look.itemsize || is_long(&out) ||
      geometries.itemsize != 4 || geometries.len != n * 32 || mirrored.itemsize != 1 || mirrored.len != n) {
    PyErr_SetString(PyExc_ValueError, "batch: expected as many geometries, mirrors and outputs as pictures");
    goto release;
  }
  if (!(parts = calloc((size_t)n + 1, sizeof *parts))) {
    PyErr_NoMemory();
    goto release;
  }
  for (Py_ssize_t i = 0; i < n; i++) {
    Part *p = &parts[i];
    memcpy(&p->left, (char *)geometries.buf + i * 32, 32);
    p->rows = (int)out.shape[1], p->columns = (int)out.shape[2], p->channels = (int)out.shape[3];
    char *to = (char *)out.buf + i * out.strides[0];
    Py_ssize_t step = out.strides[2];
    if (((char *)mirrored.buf)[i]) to += (p->columns - 1) * step, step = -step;
    place(p, to, out.strides[1], step, out.strides[3]);
    if (!part_fits(p, pictures.sources[i].columns, pictures.heights[i], pictures.sources[i].channels)) goto release;
  }
  if (!table_fits(&look, &view, parts, n)) goto release;
  Py_BEGIN_ALLOW_THREADS
  for (Py_ssize_t i = 0; i < n && done; i++) {
    done = make_axes(&parts[i], 1, 1, &look, box) && draw(&parts[i], &pictures.sources[i], &look);
    free_axis(&parts[i].across);
    free_axis(&parts[i].down);
  }
  Py_END_ALLOW_THREADS
  answer = done ? Py_NewRef(Py_None) : PyErr_NoMemory();
release:
  free_parts(parts, n);
  free_pictures(&pictures);
  Py_buffer *views[] = {&geometries, &mirrored, &out, &view};
  for (int i = 0; i < 4; i++)
    if (views[i]->obj) PyBuffer_Release(views[i]);
  return answer;
}

static PyMethodDef methods[] = {
    {"draw_jpeg", draw_jpeg, METH_VARARGS, "Draw parts of a JPEG; False if it is damaged or unusual."},
    {"draw_pixels", draw_pixels, METH_VARARGS, "Draw parts of decoded pixels."},
    {"draw_batch", draw_batch, METH_VARARGS, "Draw one part of each picture of a batch of decoded pixels."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_draw", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__draw(void) { return PyModuleDef_Init(&module); }
