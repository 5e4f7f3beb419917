"""The kinds of teacher, a module each: another one is another file here, and nothing else changes.

A kind is a class below `art.teacher.base.Teacher` that adds itself with `@KINDS.add`.
"""
