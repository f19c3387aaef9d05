/* Batches of files without the interpreter's lock: the names in a directory, what the files are, and their contents.
 * (With it, only `neighbours`, which looks at paths.)
 *
 * Opening, reading and closing a file of 1 kB takes the kernel 2 to 4 us; the interpreter adds 10 us, and one thread at a
 * time. Here a batch takes its lock once. A file that is not exactly as expected is left to Python, which looks again and
 * says what is wrong: nothing here decides about an error. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#define _GNU_SOURCE
#include <Python.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__x86_64__) && !defined(PORTABLE)
#define HAS_INSTRUCTION
#include <immintrin.h>
#endif

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

/* Files that are open and announced to the kernel before their turn, where the page cache has none of them. */
#define AHEAD 16

/* The page size of every processor is a multiple of it. */
#define SMALLEST_PAGE 4096

/* Fewer files are not worth a second thread. */
#define TOGETHER 512

/* Buffers need not be aligned. */
static int64_t get(const Py_buffer *buffer, Py_ssize_t at) {
  int64_t value;
  memcpy(&value, (const char *)buffer->buf + at * 8, 8);
  return value;
}

static void put(Py_buffer *buffer, Py_ssize_t at, int64_t value) {
  memcpy((char *)buffer->buf + at * 8, &value, 8);
}

/* ---- CRC-32C ---- */

static uint32_t tables[8][256];

static void make_tables(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    tables[0][byte] = crc;
  }
  for (int at = 1; at < 8; at++)
    for (int byte = 0; byte < 256; byte++)
      tables[at][byte] = tables[at - 1][byte] >> 8 ^ tables[0][tables[at - 1][byte] & 255];
}

static uint32_t crc_by_tables(const unsigned char *data, size_t size) {
  uint32_t crc = ~0u;
  for (; size >= 8; size -= 8, data += 8) {
    crc ^= data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
    crc = tables[7][crc & 255] ^ tables[6][crc >> 8 & 255] ^ tables[5][crc >> 16 & 255] ^ tables[4][crc >> 24] ^
          tables[3][data[4]] ^ tables[2][data[5]] ^ tables[1][data[6]] ^ tables[0][data[7]];
  }
  for (; size; size--) crc = crc >> 8 ^ tables[0][(crc ^ *data++) & 255];
  return ~crc;
}

static uint32_t (*crc_of)(const unsigned char *, size_t) = crc_by_tables;

#ifdef HAS_INSTRUCTION
__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(const unsigned char *data, size_t size) {
  uint64_t crc = ~0u, word;
  for (; size >= 8; size -= 8, data += 8) {
    memcpy(&word, data, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  for (; size; size--) crc = _mm_crc32_u8((uint32_t)crc, *data++);
  return ~(uint32_t)crc;
}
#endif

/* ---- Names and what they are of ---- */

/* Names end to end, and where each one ends. */
typedef struct {
  Py_buffer text, ends;
  Py_ssize_t n;
} Names;

static void release(Py_buffer *views, int n) {
  for (int i = 0; i < n; i++)
    if (views[i].obj) PyBuffer_Release(&views[i]);
}

static int names_fit(Names *names) {
  int64_t begin = 0;
  names->n = names->ends.len / 8;
  for (Py_ssize_t i = 0; i < names->n; i++) {
    int64_t end = get(&names->ends, i);
    if (end < begin || end > names->text.len) {
      PyErr_SetString(PyExc_ValueError, "ends: expected ascending positions in the names");
      return 0;
    }
    begin = end;
  }
  return 1;
}

/* Copies a name for the kernel; 0 if it cannot be one. */
static int name_at(const Names *names, Py_ssize_t at, char path[PATH_MAX]) {
  int64_t begin = at ? get(&names->ends, at - 1) : 0, size = get(&names->ends, at) - begin;
  if (size < 1 || size >= PATH_MAX) return 0;
  memcpy(path, (const char *)names->text.buf + begin, (size_t)size);
  path[size] = 0;
  return !memchr(path, 0, (size_t)size);
}

static int is_of_length(const Py_buffer *buffer, Py_ssize_t bytes, const char *what) {
  if (buffer->len == bytes) return 1;
  PyErr_Format(PyExc_ValueError, "%s: expected %zd bytes, found %zd", what, bytes, buffer->len);
  return 0;
}

typedef struct {
  int directory;
  const Names *names;
  Py_ssize_t begin, end;
  Py_buffer *out;
} Looks;

/* As version_of in local.py. */
static int64_t changed(const struct timespec *time) {
  int64_t ns;
  if (__builtin_mul_overflow((int64_t)time->tv_sec, (int64_t)1000000000, &ns) ||
      __builtin_add_overflow(ns, (int64_t)time->tv_nsec, &ns))
    return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
  return ns;
}

static void *look(void *given) {
  const Looks *looks = given;
  char path[PATH_MAX];
  struct stat about;
  for (Py_ssize_t i = looks->begin; i < looks->end; i++) {
    int there = name_at(looks->names, i, path) && !fstatat(looks->directory, path, &about, 0);
    put(&looks->out[0], i, there ? (int64_t)about.st_mode : 0);
    put(&looks->out[1], i, there ? (int64_t)about.st_size : 0);
    put(&looks->out[2], i, there ? changed(&about.st_mtim) : 0);
  }
  return NULL;
}

/* Half of many files is for another thread: the kernel takes nearly all of the time. */
static void look_at_all(const Looks *all) {
  Looks first = *all, second = *all;
  pthread_t thread;
  first.end = second.begin = all->begin + (all->end - all->begin) / 2;
  if (all->end - all->begin < TOGETHER || pthread_create(&thread, NULL, look, &second)) {
    look((void *)all);
    return;
  }
  look(&first);
  pthread_join(thread, NULL);
}

static PyObject *look_at_files(PyObject *Py_UNUSED(module), PyObject *args) {
  Names names = {0};
  Py_buffer out[3] = {{0}};
  PyObject *answer = NULL;
  int directory;
  if (!PyArg_ParseTuple(args, "iy*y*w*w*w*", &directory, &names.text, &names.ends, &out[0], &out[1], &out[2]))
    return NULL;
  if (names_fit(&names) && is_of_length(&out[0], names.n * 8, "modes") &&
      is_of_length(&out[1], names.n * 8, "sizes") && is_of_length(&out[2], names.n * 8, "changed")) {
    Py_BEGIN_ALLOW_THREADS
    Looks looks = {directory, &names, 0, names.n, out};
    look_at_all(&looks);
    Py_END_ALLOW_THREADS
    answer = Py_NewRef(Py_None);
  }
  release(out, 3);
  release(&names.text, 2);
  return answer;
}

/* ---- Contents ---- */

typedef struct {
  int file;
  Py_ssize_t at;
  char *to;
  size_t size;
} Reading;

/* Reads an open file, of which `got` bytes were read. Returns whether it has exactly as many bytes as expected. */
static int read_rest(const Reading *one, size_t got) {
  char more;
  while (got <= one->size) {
    struct iovec parts[2] = {{one->to + got, one->size - got}, {&more, 1}};
    ssize_t read = preadv(one->file, parts, 2, (off_t)got);
    if (read < 0) return 0;
    if (!read) break;
    got += (size_t)read;
  }
  return got == one->size;
}

static void finish(const Reading *one, int whole, Py_buffer *crcs, Py_buffer *read) {
  close(one->file);
  ((char *)read->buf)[one->at] = (char)whole;
  if (!whole) return;
  uint32_t crc = crc_of((const unsigned char *)one->to, one->size);
  memcpy((char *)crcs->buf + one->at * 4, &crc, 4);
}

static void read_batch(int directory, const Names *names, const Py_buffer *sizes, char *to, Py_buffer *crcs,
                       Py_buffer *read) {
  Reading waiting[AHEAD];
  Py_ssize_t begun = 0, ended = 0;
  char path[PATH_MAX], more;
  for (Py_ssize_t i = 0; i < names->n; i++) {
    Reading one = {-1, i, to, (size_t)get(sizes, i)};
    to += one.size;
    /* Without O_NONBLOCK, opening a FIFO that took the file's place would block for ever. */
    if (!name_at(names, i, path) || (one.file = openat(directory, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
      continue;
    /* One byte more than expected reveals a file that grew. */
    struct iovec parts[2] = {{one.to, one.size}, {&more, 1}};
    long got = syscall(SYS_preadv2, one.file, parts, 2L, 0L, 0L, (long)RWF_NOWAIT);
    if (got >= 0 && (size_t)got == one.size) {
      /* Between two pages, it may be the page cache that ends here, and not the file. */
      finish(&one, one.size % SMALLEST_PAGE || read_rest(&one, one.size), crcs, read);
      continue;
    }
    /* The page cache has not all of it, or the file system or an old kernel cannot tell. */
    posix_fadvise(one.file, 0, (off_t)one.size, POSIX_FADV_WILLNEED);
    if (begun - ended == AHEAD) {
      const Reading *first = &waiting[ended++ % AHEAD];
      finish(first, read_rest(first, 0), crcs, read);
    }
    waiting[begun++ % AHEAD] = one;
  }
  for (; ended < begun; ended++) {
    const Reading *first = &waiting[ended % AHEAD];
    finish(first, read_rest(first, 0), crcs, read);
  }
}

static PyObject *read_files(PyObject *Py_UNUSED(module), PyObject *args) {
  Names names = {0};
  Py_buffer views[4] = {{0}}, *sizes = &views[0], *out = &views[1], *crcs = &views[2], *read = &views[3];
  PyObject *answer = NULL;
  int directory;
  int64_t total = 0;
  if (!PyArg_ParseTuple(args, "iy*y*y*w*w*w*", &directory, &names.text, &names.ends, sizes, out, crcs, read))
    return NULL;
  if (!names_fit(&names) || !is_of_length(sizes, names.n * 8, "sizes") || !is_of_length(crcs, names.n * 4, "crcs") ||
      !is_of_length(read, names.n, "read"))
    goto done;
  for (Py_ssize_t i = 0; i < names.n; i++) {
    int64_t size = get(sizes, i);
    if (size < 0 || size > out->len - total) {
      PyErr_SetString(PyExc_ValueError, "out: expected room for files of these sizes");
      goto done;
    }
    total += size;
  }
  memset(read->buf, 0, (size_t)read->len);
  Py_BEGIN_ALLOW_THREADS
  read_batch(directory, &names, sizes, out->buf, crcs, read);
  Py_END_ALLOW_THREADS
  answer = Py_NewRef(Py_None);
done:
  release(views, 4);
  release(&names.text, 2);
  return answer;
}

/* ---- Names in a directory ---- */

typedef struct {
  char *text;
  size_t used, room;
  size_t *begins; /* of the names, each with a NUL after it */
  size_t n, most;
} Listed;

static int grown(void **memory, size_t *room, size_t needed, size_t item) {
  if (needed <= *room) return 1;
  size_t more = *room ? 2 * *room : 4096;
  if (more < needed) more = needed;
  void *again = realloc(*memory, more * item);
  if (!again) return 0;
  *memory = again;
  *room = more;
  return 1;
}

static int is_directory(int directory, const struct dirent *entry) {
  struct stat about;
  if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return entry->d_type == DT_DIR;
  return !fstatat(directory, entry->d_name, &about, 0) && S_ISDIR(about.st_mode);
}

/* Returns 0, or an errno. */
static int list(int directory, Listed *listed) {
  int own = fcntl(directory, F_DUPFD_CLOEXEC, 0), error = 0;
  DIR *entries = own < 0 ? NULL : fdopendir(own);
  const struct dirent *entry;
  if (!entries) {
    error = errno;
    if (own >= 0) close(own);
    return error;
  }
  rewinddir(entries); /* The copy of a descriptor has the same position. */
  while (errno = 0, (entry = readdir(entries))) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    size_t size = strlen(name);
    if (!grown((void **)&listed->text, &listed->room, listed->used + size + 2, 1) ||
        !grown((void **)&listed->begins, &listed->most, listed->n + 1, sizeof(size_t))) {
      error = ENOMEM;
      break;
    }
    listed->begins[listed->n++] = listed->used;
    memcpy(listed->text + listed->used, name, size);
    listed->used += size;
    if (is_directory(directory, entry)) listed->text[listed->used++] = '/';
    listed->text[listed->used++] = 0;
  }
  if (!error) error = errno;
  rewinddir(entries);
  closedir(entries);
  return error;
}

static int compare(const void *one, const void *other, void *text) {
  /* strcmp compares unsigned bytes, and no name has a NUL. */
  return strcmp((const char *)text + *(const size_t *)one, (const char *)text + *(const size_t *)other);
}

static PyObject *list_names(PyObject *Py_UNUSED(module), PyObject *args) {
  int directory, error;
  Listed listed = {0};
  PyObject *text = NULL, *ends = NULL, *answer = NULL;
  if (!PyArg_ParseTuple(args, "i", &directory)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  error = list(directory, &listed);
  if (!error && listed.n) qsort_r(listed.begins, listed.n, sizeof(size_t), compare, listed.text);
  Py_END_ALLOW_THREADS
  if (error == ENOMEM) {
    PyErr_NoMemory();
  } else if (error) {
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
  } else if ((text = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(listed.used - listed.n))) &&
             (ends = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)listed.n * 8))) {
    char *to = PyBytes_AsString(text), *to_ends = PyBytes_AsString(ends);
    int64_t end = 0;
    for (size_t i = 0; i < listed.n; i++) {
      const char *name = listed.text + listed.begins[i];
      size_t size = strlen(name);
      memcpy(to + end, name, size);
      end += (int64_t)size;
      memcpy(to_ends + i * 8, &end, 8);
    }
    answer = PyTuple_Pack(2, text, ends);
  }
  Py_XDECREF(text);
  Py_XDECREF(ends);
  free(listed.text);
  free(listed.begins);
  return answer;
}

/* ---- Paths ---- */

/* How many neighbours in a list of paths are in one directory. */
static PyObject *neighbours(PyObject *Py_UNUSED(module), PyObject *args) {
  PyObject *paths, *counts;
  if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &paths) || !(counts = PyList_New(0))) return NULL;
  Py_ssize_t n = PyList_Size(paths), begin = 0, length = 0;
  const char *folder = NULL;
  for (Py_ssize_t i = 0; i <= n; i++) {
    const char *path = NULL;
    Py_ssize_t size = 0;
    if (i < n) {
      char *text;
      if (PyBytes_AsStringAndSize(PyList_GetItem(paths, i), &text, &size)) goto failed;
      for (path = text; size && path[size - 1] != '/';) size--;
    }
    if (i && (i == n || size != length || memcmp(path, folder, (size_t)size))) {
      PyObject *count = PyLong_FromSsize_t(i - begin);
      if (!count || PyList_Append(counts, count)) {
        Py_XDECREF(count);
        goto failed;
      }
      Py_DECREF(count);
      begin = i;
    }
    folder = path, length = size;
  }
  return counts;
failed:
  Py_DECREF(counts);
  return NULL;
}

static PyMethodDef methods[] = {
    {"neighbours", neighbours, METH_VARARGS,
     "neighbours(paths): the length of each stretch of paths, in a list of bytes, that are in one directory."},
    {"list_names", list_names, METH_VARARGS,
     "list_names(directory): the names in an open directory, sorted, end to end, and where each one ends (int64). Names"
     " of directories and links to them end in \"/\". Raises OSError."},
    {"look_at_files", look_at_files, METH_VARARGS,
     "look_at_files(directory, names, ends, modes, sizes, changed): stat files by name, following links, into int64"
     " arrays. The mode of one that cannot be looked at is 0."},
    {"read_files", read_files, METH_VARARGS,
     "read_files(directory, names, ends, sizes, out, crcs, read): read files end to end into out, their CRC-32C into"
     " crcs (uint32). read (uint8): 1 for each that has exactly its size, 0 for the others, whose bytes mean nothing."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_files", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__files(void) {
  make_tables();
#ifdef HAS_INSTRUCTION
  if (__builtin_cpu_supports("sse4.2")) crc_of = crc_by_instruction;
#endif
  return PyModuleDef_Init(&module);
}
