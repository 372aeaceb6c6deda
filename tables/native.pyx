# cython: language_level=3, boundscheck=False, wraparound=False
"""The fold's inner steps in C: a state from its bytes, a record over a state, the state to bytes.

Built where a compiler is at hand (`hatch_build.py`); else `layout` and `fold` do the same in Python.
"""

from cpython.list cimport PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_SIZE

from schemas.codec.rows cimport item, new_row, put

from orjson import dumps, loads

cdef enum:
    MOST_FIELDS = 512
    NUMBER = 1  # where states have the number of the last record, see `layout.META`
    VERSION = 2
    CHANGED_AT = 3
    META = 4


cdef class States:
    """Encodes and decodes the states of one layout: `layout.Layout.dump` and `load`."""

    cdef object row
    cdef Py_ssize_t size
    cdef tuple money, made

    def __init__(self, row, Py_ssize_t size, tuple money, tuple made):
        """``size``: fields without the rest. ``money``: which are decimals. ``made``: (index, type) of what JSON can't
        tell."""
        if not issubclass(row, tuple):
            raise TypeError("a tuple's subclass")
        self.row, self.size, self.money, self.made = row, size, money, made

    def load(self, bytes data not None):
        """The state of its encoding."""
        cdef list values = loads(data)
        if values is None or not values:
            raise ValueError("a state is a list that starts with its size")
        cdef Py_ssize_t i, written = PyList_GET_SIZE(values) - 1
        for place, make in self.made:
            i = place
            if i < written and values[i + 1] is not None:
                values[i + 1] = make(values[i + 1])
        row = new_row(self.row, self.size + 1)
        for i in range(self.size):
            put(row, i, values[i + 1] if i < written else None)
        put(row, self.size, tuple(values[self.size + 1 :]) if written > self.size else ())
        return row

    def dump(self, state):
        """The encoding of a state."""
        if not PyTuple_Check(state) or PyTuple_GET_SIZE(state) != self.size + 1:
            raise ValueError(f"a state is a tuple of {self.size} fields and the rest")
        cdef tuple rest = item(state, self.size)
        cdef Py_ssize_t i
        cdef list values = PyList_New(1 + self.size)
        append(values, 0, self.size + len(rest))
        for i in range(self.size):
            append(values, i + 1, item(state, i))
        for place in self.money:
            i = place + 1
            if values[i] is not None:
                values[i] = str(values[i])
        values += rest
        return dumps(values)


cdef inline void append(list values, Py_ssize_t place, object value) noexcept:
    Py_INCREF(value)
    PyList_SET_ITEM(values, place, value)


cdef class Merge:
    """The common case of `fold.evolve_whole`: a numbered record that clears nothing, over a state that is there."""

    cdef object row, whole
    cdef Py_ssize_t number, unset, fields, size
    cdef short moved[MOST_FIELDS]

    def __init__(self, row, Py_ssize_t size, Py_ssize_t fields, Py_ssize_t number, Py_ssize_t unset, moves, whole):
        """``size``: the state's fields without the rest; ``fields``, ``number``, ``unset``: the record's fields, and
        which of them are its number and the list of what it clears (-1: none). ``moves``: (index in the record, index
        in the state). All other cases go to ``whole``. Raises ValueError for a state that is too large."""
        if size > MOST_FIELDS or not issubclass(row, tuple):
            raise ValueError("too many fields")
        self.row, self.whole = row, whole
        self.size, self.fields, self.number, self.unset = size, fields, number, unset
        for place in range(size):
            self.moved[place] = -1
        for i, j in moves:
            if not (0 <= i < fields and META <= j < size):
                raise ValueError("a move from or to nowhere")
            self.moved[j] = i

    def merge(self, before, event, at):
        """As `fold.Evolve`."""
        if not PyTuple_Check(event) or PyTuple_GET_SIZE(event) != self.fields:
            raise ValueError(f"a record is a tuple of {self.fields} fields")
        number = item(event, self.number)
        if before is None or number is None or self.unset >= 0 and item(event, self.unset):
            return self.whole(before, event, at)
        if not PyTuple_Check(before) or PyTuple_GET_SIZE(before) != self.size + 1:
            raise ValueError(f"a state is a tuple of {self.size} fields and the rest")
        last = item(before, NUMBER)
        if last is not None and number <= last:
            return before
        cdef Py_ssize_t i
        row = new_row(self.row, self.size + 1)
        put(row, 0, item(before, 0))
        put(row, NUMBER, number)
        put(row, VERSION, item(before, VERSION) + 1)
        put(row, CHANGED_AT, at)
        for i in range(META, self.size):
            value = None if self.moved[i] < 0 else item(event, self.moved[i])
            put(row, i, item(before, i) if value is None else value)
        put(row, self.size, item(before, self.size))
        return row
