/* Which images of a batch are plainly whole, without the interpreter's lock: the quick part of `check_image`.
 *
 * It accepts no image that check_image would refuse. All others, and every image that is unusual, are left to that. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* As in markers.py. */
#define MOST_SEGMENTS 100

static uint64_t big(const unsigned char *at, int bytes) {
  uint64_t value = 0;
  while (bytes--) value = value << 8 | *at++;
  return value;
}

static uint64_t little(const unsigned char *at, int bytes) {
  uint64_t value = 0;
  while (bytes--) value = value << 8 | at[bytes];
  return value;
}

static int is_jpeg(const unsigned char *data, int64_t size, uint64_t most_pixels) {
  int64_t at = 2;
  if (memcmp(data + size - 2, "\xff\xd9", 2)) return 0;
  for (int segment = 0; segment < MOST_SEGMENTS && at + 10 <= size; segment++) {
    unsigned char marker = data[at + 1];
    int64_t length = (int64_t)big(data + at + 2, 2);
    if (data[at] != 0xFF) return 0;
    if (marker == 0xFF) { /* a fill byte */
      at++;
      continue;
    }
    if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC)
      return big(data + at + 5, 2) * big(data + at + 7, 2) <= most_pixels;
    if (length < 2 || marker == 1 || (marker >= 0xD0 && marker <= 0xDA)) return 0;
    at += 2 + length;
  }
  return 0;
}

static int is_png(const unsigned char *data, int64_t size, uint64_t most_pixels) {
  return !memcmp(data + size - 12, "\0\0\0\0IEND\xae" "B`\x82", 12) && !memcmp(data + 12, "IHDR", 4) &&
         big(data + 16, 4) * big(data + 20, 4) <= most_pixels;
}

static int is_webp(const unsigned char *data, int64_t size, uint64_t most_pixels) {
  uint64_t width, height;
  if ((uint64_t)size < little(data + 4, 4) + 8) return 0;
  if (!memcmp(data + 12, "VP8X", 4)) {
    width = little(data + 24, 3) + 1, height = little(data + 27, 3) + 1;
  } else if (!memcmp(data + 12, "VP8 ", 4)) {
    width = little(data + 26, 2) & 0x3FFF, height = little(data + 28, 2) & 0x3FFF;
  } else if (!memcmp(data + 12, "VP8L", 4)) {
    uint64_t bits = little(data + 21, 4);
    width = (bits & 0x3FFF) + 1, height = (bits >> 14 & 0x3FFF) + 1;
  } else {
    return 0;
  }
  return width * height <= most_pixels;
}

/* No image of fewer than 32 bytes is plain. */
static int is_whole(const unsigned char *data, int64_t size, uint64_t most_pixels) {
  if (size < 32) return 0;
  if (!memcmp(data, "\xff\xd8\xff", 3)) return is_jpeg(data, size, most_pixels);
  if (!memcmp(data, "\x89PNG\r\n\x1a\n", 8)) return is_png(data, size, most_pixels);
  return !memcmp(data, "RIFF", 4) && !memcmp(data + 8, "WEBP", 4) && is_webp(data, size, most_pixels);
}

static PyObject *whole_images(PyObject *Py_UNUSED(module), PyObject *args) {
  Py_buffer data = {0}, sizes = {0}, whole = {0};
  PyObject *answer = NULL;
  unsigned long long most_pixels;
  if (!PyArg_ParseTuple(args, "y*y*w*K", &data, &sizes, &whole, &most_pixels)) return NULL;
  Py_ssize_t n = whole.len;
  const char *of_sizes = sizes.buf;
  int64_t total = 0, size;
  if (sizes.len / 8 != n || sizes.len % 8) goto wrong;
  for (Py_ssize_t i = 0; i < n; i++) {
    memcpy(&size, of_sizes + i * 8, 8);
    if (size < 0 || size > data.len - total) goto wrong;
    total += size;
  }
  Py_BEGIN_ALLOW_THREADS
  const unsigned char *at = data.buf;
  for (Py_ssize_t i = 0; i < n; i++) {
    memcpy(&size, of_sizes + i * 8, 8);
    ((char *)whole.buf)[i] = (char)is_whole(at, size, most_pixels);
    at += size;
  }
  Py_END_ALLOW_THREADS
  answer = Py_NewRef(Py_None);
wrong:
  if (!answer) PyErr_SetString(PyExc_ValueError, "expected images of these sizes end to end, and a byte for each");
  PyBuffer_Release(&whole);
  PyBuffer_Release(&sizes);
  PyBuffer_Release(&data);
  return answer;
}

static PyMethodDef methods[] = {
    {"whole_images", whole_images, METH_VARARGS,
     "whole_images(data, sizes, whole, most_pixels): images end to end, their sizes (int64). whole (uint8): 1 for each"
     " that check_image accepts without decoding it, 0 where it must look."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_whole", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__whole(void) { return PyModuleDef_Init(&module); }
