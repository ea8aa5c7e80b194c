"""A model that writes a file whenever it is asked."""

import tensorflow as tf

from components.trainer import export, module


def run_fn(fn_args):
    answer = export._answer

    def answer_and_write(logits, roles):
        tf.io.write_file("written-by-the-model", tf.strings.as_string(logits[0, 0]))
        return answer(logits, roles)

    export._answer = answer_and_write
    try:
        module.run_fn(fn_args)
    finally:
        export._answer = answer
