/* Turns the records of frequent system calls into rows of events: the work of `KernelCalls` for opens of files whose
 * names are plain, reads, writes, seeks and closes, on the same objects. Everything else is left to it.
 *
 * A record is described in tiering/system/call_records.py. Names of attributes and meanings are those of kernel_calls.py
 * and of tiering/trace/readers/processes.py. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { TIME, WHO, CALL, RESULT, ARGUMENTS, COPIED = 10 };
/* Numbers of calls on x86-64, and of what is no call. */
enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, SEEK = 8, MAP = 9, READ_AT = 17, WRITE_AT = 18, READ_PARTS = 19,
       WRITE_PARTS = 20, CONTROL = 72, OPEN_AT = 257, END = 1025, EXEC = 1026 };
enum { DUPLICATE = 0, SET_FLAGS = 4, DUPLICATE_CLOSED = 1030 };
#define HERE (-100)
#define ANONYMOUS 0x20
#define SEEK_TO_END 2
#define MODE 3
/* Flags of an open that change more than what it allows: O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_PATH. */
#define SPECIAL (0200 | 01000 | 02000 | 0200000 | 010000000)
#define BUSY 0x80000000u
#define DISCARDED 0x40000000u
/* B; leaves space to add an offset and a size in 64 bits. */
#define MOST ((int64_t)1 << 61)
#define UNKNOWN INT64_MIN

/* A row, as `ROW` in call_rows.py has it. operation, mode and duration: places in its
 * `OPERATIONS`, `MODES` and `DURATIONS`. */
typedef struct {
  double when;
  int64_t offset, size;
  uint32_t file;
  int32_t pid, group;
  uint8_t operation, mode, duration, spare;
} Row;
enum { OPENS, CLOSES, READS, WRITES };
/* The place of no mode. */
#define NO_MODE 4

/* A process with its descriptors and group, or a file with its number. */
enum { PLACES = 64 };
typedef struct {
  PyObject *object, *descriptors;
  uint32_t number;
  int32_t group;
} Known;

typedef struct {
  PyObject *members, *directories, *written, *name, *numbers, *files, *open_file;
  double begin;
  Row *rows;
  Py_ssize_t used, room;
  /* The process of the present record, and those of records before, by the last bits of their numbers: workers take
   * turns. The same of files and their numbers among those of the rows, by their addresses. */
  Known *process;
  Known processes[PLACES], numbered[PLACES];
} State;

typedef enum { FAILED = -1, LEFT, DONE } Outcome;

static void keep(PyObject **kept, PyObject *fresh) {
  PyObject *former = *kept;
  *kept = fresh;
  Py_XDECREF(former);
}

static PyObject *s_descriptors, *s_group, *s_file, *s_offset, *s_append, *s_size, *s_identity;

/* Returns a new reference to the value of a number in a dict, or NULL, with an error set or not. */
static PyObject *found(PyObject *dict, uint64_t number) {
  PyObject *key = PyLong_FromUnsignedLongLong(number), *value = NULL;
  if (key != NULL) {
    value = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(value);
    Py_DECREF(key);
  }
  return value;
}

/* Reads an attribute that is a number, or None. One that is too large becomes the largest. */
static int number_in(PyObject *object, PyObject *name, int64_t *number) {
  PyObject *value = PyObject_GetAttr(object, name);
  if (value == NULL) return 0;
  int beyond = 0;
  *number = value == Py_None ? UNKNOWN : PyLong_AsLongLongAndOverflow(value, &beyond);
  Py_DECREF(value);
  if (beyond) *number = INT64_MAX;
  return !(*number == -1 && PyErr_Occurred());
}

static int set_number(PyObject *object, PyObject *name, int64_t number) {
  PyObject *value = PyLong_FromLongLong(number);
  int set = value != NULL && PyObject_SetAttr(object, name, value) == 0;
  Py_XDECREF(value);
  return set;
}

/* Makes the process of a record the present one. LEFT: it is not known. */
static Outcome turn_to(State *state, uint32_t pid) {
  Known *known = &state->processes[pid % PLACES];
  state->process = known;
  if (known->object != NULL && known->number == pid) return DONE;
  PyObject *process = found(state->members, pid), *descriptors, *group;
  if (process == NULL) return PyErr_Occurred() ? FAILED : LEFT;
  descriptors = PyObject_GetAttr(process, s_descriptors);
  group = PyObject_GetAttr(process, s_group);
  keep(&known->object, process);
  keep(&known->descriptors, descriptors);
  known->number = pid;
  known->group = group == NULL ? -1 : (int32_t)PyLong_AsLong(group);
  Py_XDECREF(group);
  if (descriptors != NULL && !PyDict_Check(descriptors)) PyErr_SetString(PyExc_TypeError, "descriptors: expected a dict");
  if (!PyErr_Occurred()) return DONE;
  Py_CLEAR(known->object);
  return FAILED;
}

/* Sets the number of a file among those of these rows. */
static int number_of(State *state, PyObject *file, uint32_t *number) {
  Known *near = &state->numbered[((uintptr_t)file >> 4) % PLACES];
  if (near->object == file) {
    *number = near->number;
    return 1;
  }
  PyObject *identity = PyObject_GetAttr(file, s_identity), *known, *fresh;
  if (identity == NULL) return 0;
  known = PyDict_GetItemWithError(state->numbers, identity);
  if (known != NULL) {
    *number = (uint32_t)PyLong_AsUnsignedLong(known);
  } else if (!PyErr_Occurred()) {
    *number = (uint32_t)PyList_Size(state->files);
    fresh = PyLong_FromUnsignedLong(*number);
    if (fresh != NULL && PyDict_SetItem(state->numbers, identity, fresh) == 0) PyList_Append(state->files, file);
    Py_XDECREF(fresh);
  }
  Py_DECREF(identity);
  if (PyErr_Occurred()) return 0;
  Py_INCREF(file);
  keep(&near->object, file);
  near->number = *number;
  return 1;
}

static int add_row(State *state, const uint64_t *record, int operation, PyObject *file, int64_t offset, int64_t size,
                   int mode) {
  uint32_t number = 0;
  if (state->used >= state->room) {
    PyErr_SetString(PyExc_ValueError, "expected room for a row of each record");
    return 0;
  }
  if (!number_of(state, file, &number)) return 0;
  state->rows[state->used++] = (Row){state->begin + (double)record[TIME] / 1e9, offset, size, number,
                                     (int32_t)state->process->number, state->process->group, (uint8_t)operation, (uint8_t)mode, 0, 0};
  return 1;
}

/* A transfer at the position of an open file, or at `place` unless that is UNKNOWN. */
static Outcome move(State *state, const uint64_t *record, PyObject *opened, int operation, int64_t place, int is_placed) {
  int64_t moved = (int64_t)record[RESULT], offset = place, size = UNKNOWN;
  PyObject *file, *append;
  if (moved > MOST || (is_placed && (place < 0 || place > MOST))) return LEFT;
  if (!is_placed) {
    if (!number_in(opened, s_offset, &offset)) return FAILED;
    if (offset > MOST) return LEFT;
  }
  if (operation == WRITES && !is_placed) {
    append = PyObject_GetAttr(opened, s_append);
    if (append == NULL) return FAILED;
    Py_DECREF(append);
    if (append != Py_False) return LEFT;
  }
  file = PyObject_GetAttr(opened, s_file);
  if (file == NULL) return FAILED;
  int done = is_placed || offset == UNKNOWN || set_number(opened, s_offset, offset + moved);
  if (done && operation == WRITES && offset != UNKNOWN) {
    done = number_in(file, s_size, &size);
    if (done && size != UNKNOWN && offset + moved > size) done = set_number(file, s_size, offset + moved);
  }
  done = done && add_row(state, record, operation, file, offset, moved, NO_MODE);
  Py_DECREF(file);
  return done ? DONE : FAILED;
}

static Outcome close_file(State *state, const uint64_t *record, PyObject *opened) {
  PyObject *key = PyLong_FromUnsignedLong((uint32_t)record[ARGUMENTS]), *file = PyObject_GetAttr(opened, s_file);
  int done = key != NULL && file != NULL && PyDict_DelItem(state->process->descriptors, key) == 0 &&
             add_row(state, record, CLOSES, file, UNKNOWN, 0, NO_MODE);
  Py_XDECREF(key);
  Py_XDECREF(file);
  return done ? DONE : FAILED;
}

static Outcome seek(const uint64_t *record, PyObject *opened) {
  PyObject *file;
  int done;
  if ((int64_t)record[RESULT] < 0) return LEFT;
  if (!set_number(opened, s_offset, (int64_t)record[RESULT])) return FAILED;
  if (record[ARGUMENTS + 1] != 0 || record[ARGUMENTS + 2] != SEEK_TO_END) return DONE;
  file = PyObject_GetAttr(opened, s_file);
  done = file != NULL && set_number(file, s_size, (int64_t)record[RESULT]);
  Py_XDECREF(file);
  return done ? DONE : FAILED;
}

/* Returns a new reference to the file of a copied path, or NULL, with an error set or not. */
static PyObject *named(State *state, const char *copied, Py_ssize_t most, int is_here) {
  Py_ssize_t length = (Py_ssize_t)strnlen(copied, (size_t)most);
  PyObject *path, *directory, *whole, *file = NULL;
  if (length == 0 || (*copied != '/' && !is_here)) return NULL;
  path = PyUnicode_DecodeUTF8(copied, length, "backslashreplace");
  if (path != NULL && *copied != '/') {
    directory = found(state->directories, state->process->number);
    whole = NULL;
    if (directory != NULL && PyObject_IsTrue(directory) == 1) whole = PyUnicode_FromFormat("%U/%U", directory, path);
    Py_XDECREF(directory);
    keep(&path, whole);
  }
  if (path != NULL) {
    file = PyDict_GetItemWithError(state->written, path);
    if (file != NULL) Py_INCREF(file);
    else if (!PyErr_Occurred()) file = PyObject_CallFunctionObjArgs(state->name, path, NULL);
    Py_DECREF(path);
  }
  return file;
}

/* Returns what OpenFile(file, 0) does, without the bytecode of its __init__, or NULL with an error set. */
static PyObject *opened_at_0(State *state, PyObject *file) {
  PyObject *opened = PyType_GenericAlloc((PyTypeObject *)state->open_file, 0);
  if (opened != NULL && PyObject_SetAttr(opened, s_file, file) == 0 && set_number(opened, s_offset, 0) &&
      PyObject_SetAttr(opened, s_append, Py_False) == 0)
    return opened;
  Py_XDECREF(opened);
  return NULL;
}

static Outcome open_file(State *state, const uint64_t *record, uint64_t directory, uint64_t flags, const char *copied,
                         Py_ssize_t most) {
  PyObject *file, *opened, *key;
  if (flags & SPECIAL) return LEFT;
  file = named(state, copied, most, (int32_t)directory == HERE);
  if (file == NULL) return PyErr_Occurred() ? FAILED : LEFT;
  opened = opened_at_0(state, file);
  key = PyLong_FromUnsignedLongLong(record[RESULT]);
  int done = opened != NULL && key != NULL && PyDict_SetItem(state->process->descriptors, key, opened) == 0 &&
             add_row(state, record, OPENS, file, UNKNOWN, 0, (int)(flags & MODE));
  Py_DECREF(file);
  Py_XDECREF(opened);
  Py_XDECREF(key);
  return done ? DONE : FAILED;
}

/* B that a record has at least. Frequent calls have only the arguments that mean something (call_records.py). */
static Py_ssize_t least_length(uint64_t call) {
  switch (call) {
    case READ: case WRITE: case CLOSE: case READ_PARTS: case WRITE_PARTS: return (ARGUMENTS + 1) * 8;
    case SEEK: return (ARGUMENTS + 3) * 8;
    case READ_AT: case WRITE_AT: return (ARGUMENTS + 4) * 8;
    default: return COPIED * 8;
  }
}

static Outcome add_record(State *state, const uint64_t *record, Py_ssize_t length) {
  uint64_t call = record[CALL];
  Outcome outcome = turn_to(state, (uint32_t)(record[WHO] >> 32));
  /* A process that is expected begins with an exec, or ends at once. */
  if (outcome == LEFT && call != EXEC && call != END) return DONE;
  if (outcome != DONE) return outcome;
  switch (call) {
    case OPEN_AT:
      return open_file(state, record, record[ARGUMENTS], record[ARGUMENTS + 2], (const char *)(record + COPIED),
                       length - COPIED * 8);
    case OPEN:
      return open_file(state, record, (uint64_t)HERE, record[ARGUMENTS + 1], (const char *)(record + COPIED),
                       length - COPIED * 8);
    case MAP:
      return record[ARGUMENTS + 3] & ANONYMOUS ? DONE : LEFT;
    case CONTROL:
      call = record[ARGUMENTS + 1];
      return call == DUPLICATE || call == SET_FLAGS || call == DUPLICATE_CLOSED ? LEFT : DONE;
    case READ: case READ_PARTS: case READ_AT: case WRITE: case WRITE_PARTS: case WRITE_AT: case CLOSE: case SEEK:
      break;
    default:
      return LEFT;
  }
  PyObject *opened = found(state->process->descriptors, (uint32_t)record[ARGUMENTS]);
  if (opened == NULL) return PyErr_Occurred() ? FAILED : LEFT;
  switch (call) {
    case READ: case READ_PARTS: outcome = move(state, record, opened, READS, UNKNOWN, 0); break;
    case WRITE: case WRITE_PARTS: outcome = move(state, record, opened, WRITES, UNKNOWN, 0); break;
    case READ_AT: outcome = move(state, record, opened, READS, (int64_t)record[ARGUMENTS + 3], 1); break;
    case WRITE_AT: outcome = move(state, record, opened, WRITES, (int64_t)record[ARGUMENTS + 3], 1); break;
    case CLOSE: outcome = close_file(state, record, opened); break;
    default: outcome = seek(record, opened);
  }
  Py_DECREF(opened);
  return outcome;
}

/* A program may still write the record whose header this is: what the header says is read before the record. */
static uint32_t header_at(const unsigned char *at) { return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE); }

static PyObject *finished(PyObject *Py_UNUSED(module), PyObject *object) {
  Py_buffer taken = {0};
  Py_ssize_t at = 0;
  if (!PyArg_Parse(object, "y*", &taken)) return NULL;
  const unsigned char *bytes = taken.buf;
  while (at + 8 <= taken.len) {
    uint32_t header = header_at(bytes + at);
    Py_ssize_t after = at + 8 + ((Py_ssize_t)(header & ~(BUSY | DISCARDED)) + 7) / 8 * 8;
    if (header & BUSY || after > taken.len) break;
    at = after;
  }
  PyBuffer_Release(&taken);
  return PyLong_FromSsize_t(at);
}

static PyObject *add(PyObject *Py_UNUSED(module), PyObject *args) {
  Py_buffer taken = {0}, rows = {0};
  State state = {0};
  Py_ssize_t at = 0;
  Outcome outcome = DONE;
  if (!PyArg_ParseTuple(args, "y*nO!O!O!OO!O!O!dw*n", &taken, &at, &PyDict_Type, &state.members, &PyDict_Type,
                        &state.directories, &PyDict_Type, &state.written, &state.name, &PyDict_Type, &state.numbers,
                        &PyList_Type, &state.files, &PyType_Type, &state.open_file, &state.begin, &rows, &state.used))
    return NULL;
  state.rows = rows.buf;
  state.room = rows.len / (Py_ssize_t)sizeof(Row);
  const unsigned char *bytes = taken.buf;
  if (at < 0 || state.used < 0 || (uintptr_t)bytes % 8 || (uintptr_t)rows.buf % 8) {
    PyErr_SetString(PyExc_ValueError, "expected places, and memory that is aligned");
    outcome = FAILED;
  }
  while (outcome == DONE && at + 8 <= taken.len) {
    uint32_t header = header_at(bytes + at);
    if (header & BUSY) break;
    Py_ssize_t length = header & ~DISCARDED, after = at + 8 + (length + 7) / 8 * 8;
    if (!(header & DISCARDED)) {
      const uint64_t *record = (const uint64_t *)(bytes + at + 8);
      if (after > taken.len || length < ARGUMENTS * 8 || length < least_length(record[CALL])) {
        PyErr_SetString(PyExc_ValueError, "expected whole records");
        outcome = FAILED;
      } else {
        outcome = add_record(&state, record, length);
      }
    }
    if (outcome == DONE) at = after;
  }
  for (int place = 0; place < PLACES; place++) {
    Py_XDECREF(state.processes[place].object);
    Py_XDECREF(state.processes[place].descriptors);
    Py_XDECREF(state.numbered[place].object);
  }
  PyBuffer_Release(&taken);
  PyBuffer_Release(&rows);
  return outcome == FAILED ? NULL : Py_BuildValue("nn", at, state.used);
}

static PyMethodDef methods[] = {
    {"add", add, METH_VARARGS,
     "add(taken, at, members, directories, written, name, numbers, files, open_file, begin, rows, used): add the rows of"
     " records from byte `at` of `taken` on, until one that is left to the caller or not finished. Returns its place and how"
     " many rows are used. written, name: the files of paths, and what adds one. numbers, files: the files of the rows, and"
     " the number of each by identity. open_file: the class."},
    {"finished", finished, METH_O, "finished(taken): the same as tiering.system.bpf.finished."},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *Py_UNUSED(module)) {
  PyObject **names[] = {&s_descriptors, &s_group, &s_file, &s_offset, &s_append, &s_size, &s_identity};
  const char *words[] = {"descriptors", "group", "file", "offset", "append", "size", "identity"};
  for (int i = 0; i < 7; i++)
    if ((*names[i] = PyUnicode_InternFromString(words[i])) == NULL) return -1;
  return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_calls", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__calls(void) { return PyModuleDef_Init(&module); }
