"""Tuples and their subclasses, filled and read in place. Whoever asks for a place has made sure that it is there."""

from cpython.ref cimport Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_SET_ITEM

cdef extern from *:
    """
    static PyObject *new_row(PyObject *type, Py_ssize_t size) {
        return ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, size);
    }
    """
    object new_row(object type, Py_ssize_t size)  # as tuple.__new__ of a subclass, without a tuple to copy from


cdef inline object item(object row, Py_ssize_t place):
    return <object>PyTuple_GET_ITEM(row, place)


cdef inline void put(object row, Py_ssize_t place, object value) noexcept:
    """Into a new row, once a place."""
    Py_INCREF(value)  # the row takes one
    PyTuple_SET_ITEM(row, place, value)
