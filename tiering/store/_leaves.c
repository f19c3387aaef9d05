/* Adds many small values to the leaves of an LMDB environment, without the interpreter's lock: the work of `_Tree.add` in
 * lmdb.py, which describes the format, for a run of values. The leaf that is being filled is the state that both share. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define PAGE 4096
#define PAGE_HEAD 16
#define NODE_HEAD 16
#define LEAF 0x02
#define OVERFLOW 0x04
#define ON_OVERFLOW 0x01
/* The largest node that stays in its leaf, so that each leaf has two. */
#define LARGEST_NODE ((((PAGE - PAGE_HEAD) / 2) & ~1) - 2)

static void put(unsigned char *at, uint64_t value, int bytes) {
  for (; bytes--; value >>= 8) *at++ = (unsigned char)value;
}

static unsigned get_2(const unsigned char *at) { return at[0] | (unsigned)at[1] << 8; }

static void put_key(unsigned char *at, uint64_t sample) {
  for (int byte = 7; byte >= 0; byte--, sample >>= 8) at[byte] = (unsigned char)sample;
}

static void empty(unsigned char *leaf) {
  memset(leaf, 0, PAGE);
  put(leaf + 10, LEAF, 2);
  put(leaf + 12, PAGE_HEAD, 2);
  put(leaf + 14, PAGE, 2);
}

/* Whether the head and the places of a leaf are inside it, and each node after a place. */
static int is_leaf(const unsigned char *leaf) {
  unsigned lower = get_2(leaf + 12), upper = get_2(leaf + 14);
  if (lower < PAGE_HEAD || lower % 2 || lower > upper || upper > PAGE) return 0;
  for (unsigned at = PAGE_HEAD; at < lower; at += 2)
    if (get_2(leaf + at) < upper || get_2(leaf + at) > PAGE - NODE_HEAD) return 0;
  return 1;
}

typedef struct {
  unsigned char *leaf, *out, *offsets, *leaves;
  int64_t first, next; /* the leaf's first sample, and the number of the next page */
  int64_t base;        /* the sample of offsets[0] */
  int64_t used, value_pages, written;
} Tree;

static void write_leaf(Tree *tree) {
  unsigned count = (get_2(tree->leaf + 12) - PAGE_HEAD) / 2;
  put(tree->leaf, (uint64_t)tree->next, 8);
  memcpy(tree->out + tree->used, tree->leaf, PAGE);
  for (unsigned i = 0; i < count; i++) {
    unsigned place = get_2(tree->leaf + PAGE_HEAD + 2 * i);
    int64_t offset = tree->next * PAGE + place + NODE_HEAD;
    if (!(get_2(tree->leaf + place + 4) & ON_OVERFLOW))
      memcpy(tree->offsets + (tree->first + i - tree->base) * 8, &offset, 8);
  }
  memcpy(tree->leaves + tree->written * 16, &tree->first, 8);
  memcpy(tree->leaves + tree->written++ * 16 + 8, &tree->next, 8);
  tree->first += count;
  tree->used += PAGE;
  tree->next++;
  empty(tree->leaf);
}

static void write_value(Tree *tree, const char *data, int64_t size, int64_t pages) {
  unsigned char *to = tree->out + tree->used;
  put(to, (uint64_t)tree->next, 8);
  put(to + 8, 0, 2);
  put(to + 10, OVERFLOW, 2);
  put(to + 12, (uint64_t)pages, 4);
  memcpy(to + PAGE_HEAD, data, (size_t)size);
  memset(to + PAGE_HEAD + size, 0, (size_t)(pages * PAGE - PAGE_HEAD - size));
  tree->used += pages * PAGE;
  tree->value_pages += pages;
  tree->next += pages;
}

/* Adds values while there is room for them in `out`. Returns how many were added. */
static Py_ssize_t add(Tree *tree, int64_t sample, const char *data, const char *sizes, Py_ssize_t n, int64_t room) {
  for (Py_ssize_t i = 0; i < n; i++, sample++) {
    int64_t size;
    memcpy(&size, sizes + i * 8, 8);
    int inline_ = NODE_HEAD + size <= LARGEST_NODE;
    int64_t pages = inline_ ? 0 : (PAGE_HEAD + size + PAGE - 1) / PAGE;
    int64_t node = NODE_HEAD + (inline_ ? size + (size & 1) : 8);
    if (tree->used + (1 + pages) * PAGE > room) return i;
    if (2 + node > (int64_t)get_2(tree->leaf + 14) - (int64_t)get_2(tree->leaf + 12)) write_leaf(tree);
    unsigned lower = get_2(tree->leaf + 12), upper = get_2(tree->leaf + 14) - (unsigned)node;
    unsigned char *at = tree->leaf + upper;
    put(at, (uint64_t)size, 4);
    put(at + 4, inline_ ? 0 : ON_OVERFLOW, 2);
    put(at + 6, 8, 2);
    put_key(at + 8, (uint64_t)sample);
    if (inline_) {
      memcpy(at + NODE_HEAD, data, (size_t)size);
    } else {
      int64_t offset = tree->next * PAGE + PAGE_HEAD;
      memcpy(tree->offsets + (sample - tree->base) * 8, &offset, 8);
      put(at + NODE_HEAD, (uint64_t)tree->next, 8);
      write_value(tree, data, size, pages);
    }
    put(tree->leaf + lower, upper, 2);
    put(tree->leaf + 12, lower + 2, 2);
    put(tree->leaf + 14, upper, 2);
    data += size;
  }
  return n;
}

static PyObject *add_values(PyObject *Py_UNUSED(module), PyObject *args) {
  Py_buffer views[6] = {{0}}, *leaf = &views[0], *data = &views[1], *sizes = &views[2], *out = &views[3],
            *offsets = &views[4], *leaves = &views[5];
  PyObject *answer = NULL;
  Tree tree = {0};
  long long first, next, sample;
  if (!PyArg_ParseTuple(args, "w*LLLy*y*w*w*w*", leaf, &first, &sample, &next, data, sizes, out, offsets, leaves))
    return NULL;
  Py_ssize_t n = sizes->len / 8, taken = 0;
  int64_t size, total = 0;
  int fits = leaf->len == PAGE && is_leaf(leaf->buf) && first >= 0 && next >= 0 &&
             sample - first == (get_2((unsigned char *)leaf->buf + 12) - PAGE_HEAD) / 2 &&
             offsets->len == (sample - first + n) * 8 && leaves->len >= n * 16;
  for (Py_ssize_t i = 0; fits && i < n; i++) {
    memcpy(&size, (char *)sizes->buf + i * 8, 8);
    fits = size >= 0 && size <= data->len - total && size <= INT32_MAX;
    total += size;
  }
  if (fits) {
    tree = (Tree){leaf->buf, out->buf, offsets->buf, leaves->buf, first, next, first, 0, 0, 0};
    Py_BEGIN_ALLOW_THREADS
    taken = add(&tree, sample, data->buf, sizes->buf, n, out->len);
    Py_END_ALLOW_THREADS
    answer = Py_BuildValue("nLLLLL", taken, (long long)tree.first, (long long)tree.next, (long long)tree.used,
                           (long long)tree.value_pages, (long long)tree.written);
  } else {
    PyErr_SetString(PyExc_ValueError, "expected a leaf, the sizes of values end to end, and room for their offsets");
  }
  for (int i = 0; i < 6; i++) PyBuffer_Release(&views[i]);
  return answer;
}

static PyMethodDef methods[] = {
    {"add_values", add_values, METH_VARARGS,
     "add_values(leaf, first, sample, next, data, sizes, out, offsets, leaves): add values end to end to a leaf, and write"
     " full leaves and large values as pages into out. first: sample of the leaf's first node. sample: of the first"
     " value. next: number of the next page. offsets: int64, of the samples from first on. leaves: int64 pairs, gets"
     " first sample and page of each leaf. Returns how many values had room in out, first, next, bytes in out, pages of"
     " values, and leaves."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_leaves", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__leaves(void) { return PyModuleDef_Init(&module); }
