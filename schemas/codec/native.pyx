# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Avro bodies to rows and rows to Avro bodies, in C: seven times faster than `source` and `encoding.python_encoder`, which
do the same where no compiler was at hand (`hatch_build.py`).

They know less on purpose: whatever is not plain goes to the reference, or to the encoder in Python, which decide.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from schemas.codec.rows cimport item, new_row, put

from decimal import Context, Decimal

from schemas.codec.validation import Broken

cdef extern from *:
    double PyFloat_Unpack8(const char *p, int little_endian) except? -1.0
    double PyFloat_Unpack4(const char *p, int little_endian) except? -1.0

cdef enum Kind:
    LONG, STRING, BYTES, DOUBLE, FLOAT, BOOLEAN, ENUM, DECIMAL, ARRAY, SKIP

KINDS = {
    "long": LONG, "string": STRING, "bytes": BYTES, "double": DOUBLE, "float": FLOAT, "boolean": BOOLEAN, "enum": ENUM,
    "decimal": DECIMAL, "array": ARRAY, "skip": SKIP,
}
cdef struct Field:
    Kind kind
    int place
    int null
    bint nullable
    int64_t unit  # of a long; 1: as it is

cdef struct Cursor:
    const unsigned char *at
    const unsigned char *end

EXACT = Context(prec=100)  # of our own: the thread's rounds to as many digits as others set


cdef class Decoder:
    """Of one writer's schema: `decode` is what `schemas.codec.decoding.row_decoder` gives."""

    cdef Field *fields
    cdef int count
    cdef Py_ssize_t start, size
    cdef list details
    cdef tuple defaults
    cdef object row, reference

    def __cinit__(self, steps, defaults, row, Py_ssize_t size, reference, Py_ssize_t start):
        """``row``: the record's class, of ``size`` fields."""
        if not issubclass(row, tuple):
            raise TypeError("a tuple's subclass")
        self.fields = <Field *>PyMem_Malloc(len(steps) * sizeof(Field))
        if self.fields == NULL:
            raise MemoryError
        self.count = len(steps)
        for k, step in enumerate(steps):
            self.fields[k] = field_of(step)
        self.details = [step.detail for step in steps]
        self.defaults = tuple(defaults.items())
        self.row, self.size, self.reference, self.start = row, size, reference, start

    def __dealloc__(self):
        PyMem_Free(self.fields)

    def decode(self, bytes value not None):
        """The row of a Kafka value. Raises what the reference raises."""
        try:
            return self.read(value)
        except Exception:
            return self.reference(value)

    cdef object read(self, bytes value):
        cdef Cursor cursor
        cdef const unsigned char *first = <const unsigned char *>PyBytes_AS_STRING(value)
        cdef Field *field
        cdef int k
        cursor.at = first + self.start
        cursor.end = first + PyBytes_GET_SIZE(value)
        if cursor.at > cursor.end:
            raise Broken("cut short")
        row = new_row(self.row, self.size)
        for place, found in self.defaults:
            put(row, place, found)
        for k in range(self.count):
            field = &self.fields[k]
            if field.kind == SKIP:
                cursor.at = first + <Py_ssize_t>self.details[k](value, cursor.at - first)
                continue
            if field.null >= 0 and is_null(&cursor, field):
                put(row, field.place, None)
            else:
                put(row, field.place, read_value(&cursor, field, <object>self.details[k]))
        if cursor.at != cursor.end:
            raise Broken("bytes are left over")
        return row


cdef Field field_of(step) except *:
    cdef Field field
    field.kind = KINDS[step.kind]
    field.place, field.null, field.nullable = step.place, step.null, step.nullable
    field.unit = step.detail if field.kind == LONG else 1
    return field


cdef bint is_null(Cursor *cursor, Field *field) except -1:
    """Whether a union holds null; the cursor goes past its branch."""
    if cursor.at >= cursor.end:
        raise Broken("cut short")
    cdef int branch = cursor.at[0]
    cursor.at += 1
    if branch == 2 - field.null:
        return False
    if branch != field.null or not field.nullable:
        raise Broken("a branch that can't be")
    return True


cdef object read_value(Cursor *cursor, Field *field, object detail):
    cdef const unsigned char *start
    if field.kind == STRING:
        start = take(cursor, read_size(cursor))
        return PyUnicode_DecodeUTF8(<const char *>start, cursor.at - start, NULL)
    if field.kind == LONG:
        return read_time(cursor, field.unit) if field.unit != 1 else read_long(cursor)
    if field.kind == DOUBLE:
        return PyFloat_Unpack8(<const char *>take(cursor, 8), 1)
    if field.kind == FLOAT:
        return PyFloat_Unpack4(<const char *>take(cursor, 4), 1)
    if field.kind == BOOLEAN:
        start = take(cursor, 1)
        if start[0] > 1:
            raise Broken("a truth value that can't be")
        return start[0] == 1
    if field.kind == ENUM:
        return (<dict>detail)[take(cursor, 1)[0]]
    if field.kind == ARRAY:
        return read_array(cursor, detail)
    start = take(cursor, read_size(cursor))
    raw = start[: cursor.at - start]
    return raw if field.kind == BYTES else read_decimal(raw, detail)


cdef const unsigned char *take(Cursor *cursor, Py_ssize_t size) except NULL:
    """Where ``size`` bytes begin; the cursor goes past them."""
    cdef const unsigned char *start = cursor.at
    if size < 0 or size > cursor.end - start:
        raise Broken("cut short")
    cursor.at += size
    return start


cdef Py_ssize_t read_size(Cursor *cursor) except -1:
    cdef int64_t size = read_long(cursor)
    if size < 0:
        raise Broken("a length that can't be")
    return size


cdef int64_t read_long(Cursor *cursor) except? -1:
    """A zigzag varint of at most 64 bits."""
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef unsigned char byte
    while cursor.at < cursor.end:
        byte = cursor.at[0]
        cursor.at += 1
        if shift == 63 and byte > 1:
            break
        value |= <uint64_t>(byte & 127) << shift
        if byte < 128:
            return <int64_t>(value >> 1) ^ -<int64_t>(value & 1)
        shift += 7
    raise Broken("an integer cut short or beyond 64 bits")


cdef object read_time(Cursor *cursor, int64_t unit):
    """In Python's integers, which do not overflow; what is beyond 64 bits is no value of ours."""
    found = <object>read_long(cursor) * unit
    if not -(1 << 63) <= found < (1 << 63):
        raise Broken("a time beyond 64 bits")
    return found


cdef object read_decimal(bytes raw, tuple detail):
    limit, scale = detail
    n = int.from_bytes(raw, "big", signed=True)
    if not -limit < n < limit:
        raise Broken("more digits than the type has")
    return Decimal(n).scaleb(-scale, EXACT)


cdef tuple read_array(Cursor *cursor, step):
    cdef Field item = field_of(step)
    cdef int64_t count
    items = []
    while True:
        count = read_long(cursor)
        if count == 0:
            return tuple(items)
        if count < 0 or count > cursor.end - cursor.at:
            raise Broken("a length that can't be, or a block with its size")
        while count:
            items.append(read_value(cursor, &item, step.detail))
            count -= 1


cdef enum:
    MOST_FIELDS = 256  # of a contract
    LARGEST = 8192  # bytes; larger rows are `python_encoder`'s

cdef struct Pen:
    unsigned char *at
    unsigned char *end


cdef class Encoder:
    """Of one contract: `encode` is what `schemas.codec.encoding.row_encoder` gives. All that is unusual is ``other``'s."""

    cdef Kind kinds[MOST_FIELDS]
    cdef int count
    cdef bytes header
    cdef list nulls, prefixes, writes
    cdef object other

    def __init__(self, fields, bytes header not None, other):
        """Raises ValueError for more fields than it has room for."""
        if len(fields) > MOST_FIELDS:
            raise ValueError("too many fields")
        self.count = len(fields)
        for k, field in enumerate(fields):
            self.kinds[k] = KINDS[field.kind]
        self.nulls = [field.null for field in fields]
        self.prefixes = [field.prefix for field in fields]
        self.writes = [field.table if field.kind in ("enum", "boolean") else field.write for field in fields]
        self.header, self.other = header, other

    def encode(self, row):
        """Header and body. Raises InvalidInput."""
        cdef unsigned char room[LARGEST]
        cdef Pen pen
        pen.at, pen.end = room, room + LARGEST
        if not PyTuple_Check(row) or PyTuple_GET_SIZE(row) != self.count:
            return self.other(row)
        try:
            self.write(&pen, row)
        except Exception:
            return self.other(row)
        return <bytes>room[: pen.at - room]

    cdef int write(self, Pen *pen, object row) except -1:
        cdef int k
        put_bytes(pen, self.header)
        for k in range(self.count):
            value = item(row, k)
            if value is None and self.nulls[k] is not None:
                put_bytes(pen, self.nulls[k])
            elif self.kinds[k] == LONG and PyLong_CheckExact(value):
                put_bytes(pen, self.prefixes[k])
                put_long(pen, value)
            elif self.kinds[k] == STRING:
                put_bytes(pen, self.prefixes[k])
                put_text(pen, value)
            elif self.kinds[k] == ENUM or self.kinds[k] == BOOLEAN:
                put_bytes(pen, (<dict>self.writes[k])[value])
            else:
                put_bytes(pen, self.writes[k](value))
        return 0


cdef int put_raw(Pen *pen, const char *data, Py_ssize_t size) except -1:
    if size > pen.end - pen.at:
        raise OverflowError("a large row")
    memcpy(pen.at, data, size)
    pen.at += size
    return 0


cdef int put_bytes(Pen *pen, bytes data) except -1:
    if data is None:
        raise TypeError("nothing to write")
    return put_raw(pen, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef int put_text(Pen *pen, str text) except -1:
    cdef Py_ssize_t size
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    put_long(pen, size)
    return put_raw(pen, data, size)


cdef int put_long(Pen *pen, int64_t value) except -1:
    """Zigzag and varint."""
    cdef uint64_t rest = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    if pen.end - pen.at < 10:
        raise OverflowError("a large row")
    while rest > 127:
        pen.at[0] = <unsigned char>(rest & 127 | 128)
        pen.at += 1
        rest >>= 7
    pen.at[0] = <unsigned char>rest
    pen.at += 1
    return 0
