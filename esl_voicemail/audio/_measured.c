/* What spectrum.py and amplitudes.py measure of a sound, in one go that stays in the processor's cache.

   Four frames at a time, each in a lane of its own: so every step is the same for all four, and one instruction of
   any processor does it. What the numbers mean is said in spectrum.py, which does the same with numpy where this
   was not built. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 4
#define FRAME 160
#define WINDOW 256
#define HALF (WINDOW / 2)
#define LOWEST 2
#define HIGHEST 120
#define LINES (HIGHEST - LOWEST)
#define BANDS 8
#define MODEM BANDS
#define TOTAL (BANDS + 1)
#define SUMS (BANDS + 2)
#define PURE (BANDS + 2)
#define ROWS (BANDS + 4)
#define ASIDE 2
/* So many frames at once stay in the cache next to the processor; beside them lies a neighbour on either side. */
#define BLOCK 64
#define FAR (BLOCK + LANES)
#define HERTZ (8000.0f / WINDOW)
#define NOTHING 1e-8f
#define FULL_SCALE 32768.0f
#define STEPS 129

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t numbers __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Which lines are added up: those of each band, of a fax machine's bits, and all. The numbers of spectrum.py. */
static const int FROM[SUMS] = {6, 13, 20, 28, 37, 48, 62, 82, 47, LOWEST};
static const int UNTIL[SUMS] = {13, 20, 28, 37, 48, 62, 82, 112, 65, HIGHEST};

static float turn_re[WINDOW], turn_im[WINDOW]; /* exp(-2 pi i n / 256) */

/* A step of Stockham's transform of 128 complex numbers, by four: `apart` of them lie beside each other. */
static inline __attribute__((always_inline)) void by_four(
    const lanes *re, const lanes *im, lanes *to_re, lanes *to_im, int length, int apart)
{
    int quarter = length / 4;
    for (int p = 0; p < quarter; p++) {
        int turn = p * (WINDOW / length);
        float r1 = turn_re[turn], i1 = turn_im[turn];
        float r2 = turn_re[2 * turn], i2 = turn_im[2 * turn];
        float r3 = turn_re[3 * turn], i3 = turn_im[3 * turn];
        for (int q = 0; q < apart; q++) {
            int a = q + apart * p, b = a + apart * quarter, c = b + apart * quarter, d = c + apart * quarter;
            lanes sum_re = re[a] + re[c], sum_im = im[a] + im[c];
            lanes less_re = re[a] - re[c], less_im = im[a] - im[c];
            lanes other_re = re[b] + re[d], other_im = im[b] + im[d];
            /* times -i */
            lanes side_re = im[b] - im[d], side_im = re[d] - re[b];
            int to = q + apart * 4 * p;
            lanes x, y;
            to_re[to] = sum_re + other_re;
            to_im[to] = sum_im + other_im;
            x = less_re + side_re, y = less_im + side_im;
            to_re[to + apart] = x * r1 - y * i1;
            to_im[to + apart] = x * i1 + y * r1;
            x = sum_re - other_re, y = sum_im - other_im;
            to_re[to + 2 * apart] = x * r2 - y * i2;
            to_im[to + 2 * apart] = x * i2 + y * r2;
            x = less_re - side_re, y = less_im - side_im;
            to_re[to + 3 * apart] = x * r3 - y * i3;
            to_im[to + 3 * apart] = x * i3 + y * r3;
        }
    }
}

/* The power of the lines of four frames, a row of `block` for each line, and their sums in the rows behind. */
static inline __attribute__((always_inline)) void powers(
    const int16_t *samples, int frames, const float *shape, float *block, float *level)
{
    lanes re[2][HALF], im[2][HALF];
    float loud[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        /* Beyond the last frame it stands for the others. */
        const int16_t *from = samples + FRAME * (lane < frames ? lane : frames - 1);
        float squares = 0;
        float sound[WINDOW];
        for (int n = 0; n < WINDOW; n++) {
            sound[n] = from[n];
        }
        /* By turns, as to add to the same number again and again is to wait for it. */
        lanes four[4] = {{0}};
        for (int n = 0; n < WINDOW; n += 4 * LANES) {
            for (int turn = 0; turn < 4; turn++) {
                lanes some = *(const lanes *)(sound + n + turn * LANES);
                four[turn] += some * some;
            }
        }
        lanes all = four[0] + four[1] + four[2] + four[3];
        for (int n = 0; n < LANES; n++) {
            squares += all[n];
        }
        loud[lane] = squares / (WINDOW * FULL_SCALE * FULL_SCALE);
        for (int n = 0; n < WINDOW; n++) {
            sound[n] *= shape[n];
        }
        for (int n = 0; n < HALF; n++) {
            ((float *)&re[0][n])[lane] = sound[2 * n];
            ((float *)&im[0][n])[lane] = sound[2 * n + 1];
        }
    }
    memcpy(level, loud, sizeof(float) * frames);
    by_four(re[0], im[0], re[1], im[1], 128, 1);
    by_four(re[1], im[1], re[0], im[0], 32, 4);
    by_four(re[0], im[0], re[1], im[1], 8, 16);
    for (int q = 0; q < HALF / 2; q++) {
        re[0][q] = re[1][q] + re[1][q + HALF / 2], im[0][q] = im[1][q] + im[1][q + HALF / 2];
        re[0][q + HALF / 2] = re[1][q] - re[1][q + HALF / 2];
        im[0][q + HALF / 2] = im[1][q] - im[1][q + HALF / 2];
    }
    /* The even samples are the real part and the odd ones the imaginary: apart again. */
    for (int line = LOWEST; line < HIGHEST; line++) {
        lanes r = re[0][line], i = im[0][line], r2 = re[0][HALF - line], i2 = im[0][HALF - line];
        lanes even_re = r + r2, even_im = i - i2, odd_re = i + i2, odd_im = r2 - r;
        lanes x = even_re + odd_re * turn_re[line] - odd_im * turn_im[line];
        lanes y = even_im + odd_re * turn_im[line] + odd_im * turn_re[line];
        *(lanes *)(block + (line - LOWEST) * FAR) = 0.25f * (x * x + y * y);
    }
    for (int sum = 0; sum < SUMS; sum++) {
        lanes together = {0};
        for (int line = FROM[sum]; line < UNTIL[sum]; line++) {
            together += *(const lanes *)(block + (line - LOWEST) * FAR);
        }
        *(lanes *)(block + (LINES + sum) * FAR) = together;
    }
}

/* Add each frame to its neighbours, as spectrum.py says why; the first and the last count thrice. */
static inline __attribute__((always_inline)) void even(float *row, int frames)
{
    float spare[FAR];
    memcpy(spare, row, sizeof(spare));
    for (int at = 1; at < FAR - 1; at++) {
        row[at] = spare[at - 1] + spare[at + 1] + spare[at];
    }
    row[0] = 3 * spare[0];
    row[frames - 1] = 3 * spare[frames - 1];
}

/* The strongest line of each of four frames, but for those beside `without`; of one at an edge, the nearest
   that is a whole one. */
static inline __attribute__((always_inline)) void strongest(
    const float *block, const numbers *without, numbers *found)
{
    /* Of every second line each, as the next comparison waits for the last. */
    lanes most[2] = {{0}};
    numbers at[2] = {{0}};
    for (int line = 0; line < LINES; line += 2) {
        for (int odd = 0; odd < 2; odd++) {
            lanes here = *(const lanes *)(block + (line + odd) * FAR);
            numbers more = here > most[odd];
            if (without) {
                numbers apart = line + odd - *without;
                more &= (apart > ASIDE) | (apart < -ASIDE);
            }
            most[odd] = (lanes)(((numbers)here & more) | ((numbers)most[odd] & ~more));
            at[odd] = ((line + odd - (numbers){0}) & more) | (at[odd] & ~more);
        }
    }
    /* Of two as strong, the first. */
    numbers second = (most[1] > most[0]) | ((most[1] == most[0]) & (at[1] < at[0]));
    for (int lane = 0; lane < LANES; lane++) {
        int line = second[lane] ? at[1][lane] : at[0][lane];
        (*found)[lane] = line < ASIDE ? ASIDE : line > LINES - 1 - ASIDE ? LINES - 1 - ASIDE : line;
    }
}

/* Measure the frames from `from` on, of all those whose windows begin in `samples`, into their columns of `rows`;
   return the frame behind them. `block` is room for them, and `tone` is told each frame's strongest line. */
static Py_ssize_t measure(
    const int16_t *samples, Py_ssize_t from, Py_ssize_t frames, const float *shape, float *rows, float *block,
    int32_t *tone)
{
    float *level = rows + BANDS * frames, *pitch = level + frames, *pure = pitch + frames, *modem = pure + frames;
    Py_ssize_t until = from + BLOCK < frames ? from + BLOCK : frames;
    Py_ssize_t first = from ? from - 1 : 0, last = until < frames ? until + 1 : frames;
    for (Py_ssize_t at = first; at < last; at += LANES) {
        int some = last - at < LANES ? (int)(last - at) : LANES;
        powers(samples + FRAME * at, some, shape, block + (at - first), level + at);
    }
    for (int row = 0; row < LINES + SUMS; row++) {
        even(block + row * FAR, (int)(last - first));
    }
    for (int band = 0; band < BANDS; band++) {
        for (Py_ssize_t at = from; at < until; at++) {
            rows[band * frames + at] = block[(LINES + band) * FAR + at - first] + NOTHING;
        }
    }
    for (Py_ssize_t four = from; four < until; four += LANES) {
        numbers strong, next;
        strongest(block + (four - first), NULL, &strong);
        strongest(block + (four - first), &strong, &next);
        for (Py_ssize_t at = four; at < four + LANES && at < until; at++) {
            const float *column = block + (at - first);
            int line = strong[at - four], other = next[at - four];
            float both = 0, weighed = 0;
            for (int aside = -ASIDE; aside <= ASIDE; aside++) {
                both += column[(line + aside) * FAR];
                weighed += aside * column[(line + aside) * FAR];
            }
            pitch[at] = (line + weighed / (both + NOTHING) + LOWEST) * HERTZ;
            for (int aside = -ASIDE; aside <= ASIDE; aside++) {
                if (abs(other + aside - line) > ASIDE) {
                    both += column[(other + aside) * FAR];
                }
            }
            float total = column[(LINES + TOTAL) * FAR] + NOTHING;
            pure[at] = both / total;
            modem[at] = column[(LINES + MODEM) * FAR] / total;
            tone[at] = line;
        }
    }
    return until;
}

/* Where the strongest line moves within 80 ms, nobody may ask how pure it is. */
static void leave_steady(Py_ssize_t frames, float *pure, const int32_t *tone)
{
    for (Py_ssize_t at = 0; at < frames; at++) {
        if (at < 2 || at >= frames - 2 || abs(tone[at + 2] - tone[at - 2]) > 1) {
            pure[at] = 0;
        }
    }
}

/* spectra(samples, shape, rows): fill 12 rows of float32, a column for each frame: eight bands, level, pitch, pure,
   modem. What type the buffers are of is for the caller to see to; their sizes are looked at here. */
static PyObject *spectra(PyObject *module, PyObject *args)
{
    Py_buffer samples, shape, rows;
    if (!PyArg_ParseTuple(args, "y*y*w*", &samples, &shape, &rows)) {
        return NULL;
    }
    PyObject *done = NULL;
    Py_ssize_t frames = (samples.len / 2 - WINDOW) / FRAME + 1;
    if (samples.len < 2 * WINDOW || shape.len != WINDOW * sizeof(float)
        || rows.len != (Py_ssize_t)(frames * ROWS * sizeof(float))) {
        PyErr_SetString(PyExc_ValueError, "buffers of other sizes than the frames ask for");
        goto end;
    }
    int32_t *tone = PyMem_RawMalloc(frames * sizeof(int32_t));
    if (!tone) {
        PyErr_NoMemory();
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    float block[(LINES + SUMS) * FAR] = {0};
    for (Py_ssize_t at = 0; at < frames;) {
        at = measure(samples.buf, at, frames, shape.buf, rows.buf, block, tone);
    }
    leave_steady(frames, (float *)rows.buf + PURE * frames, tone);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(tone);
    done = Py_NewRef(Py_None);
end:
    PyBuffer_Release(&samples);
    PyBuffer_Release(&shape);
    PyBuffer_Release(&rows);
    return done;
}

/* amplitudes(samples, counts): add to 129 of int64 how many samples have each amplitude, in steps of a byte. */
static PyObject *amplitudes(PyObject *module, PyObject *args)
{
    Py_buffer samples, counts;
    if (!PyArg_ParseTuple(args, "y*w*", &samples, &counts)) {
        return NULL;
    }
    PyObject *done = NULL;
    if (counts.len != STEPS * sizeof(int64_t)) {
        PyErr_SetString(PyExc_ValueError, "not as many counts as there are steps");
        goto end;
    }
    /* By turns, as to add to the same number again and again is to wait for it. */
    uint32_t some[4][STEPS] = {{0}};
    const int16_t *sample = samples.buf;
    Py_ssize_t length = samples.len / 2, at = 0;
    Py_BEGIN_ALLOW_THREADS
    for (; at + 4 <= length; at += 4) {
        for (int n = 0; n < 4; n++) {
            some[n][abs(sample[at + n] >> 8)]++;
        }
    }
    for (; at < length; at++) {
        some[0][abs(sample[at] >> 8)]++;
    }
    Py_END_ALLOW_THREADS
    for (int step = 0; step < STEPS; step++) {
        ((int64_t *)counts.buf)[step] += (int64_t)some[0][step] + some[1][step] + some[2][step] + some[3][step];
    }
    done = Py_NewRef(Py_None);
end:
    PyBuffer_Release(&samples);
    PyBuffer_Release(&counts);
    return done;
}

static PyMethodDef methods[] = {
    {"spectra", spectra, METH_VARARGS, NULL},
    {"amplitudes", amplitudes, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_measured", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__measured(void)
{
    for (int n = 0; n < WINDOW; n++) {
        turn_re[n] = (float)cos(2 * M_PI * n / WINDOW);
        turn_im[n] = (float)-sin(2 * M_PI * n / WINDOW);
    }
    return PyModule_Create(&definition);
}
