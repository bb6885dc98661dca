"""Training: on images, in memories of parameters and of bits.

the loop        `loop.py` `run.py` `state.py` · `config.py` · `result.py` · `processes.py` several processes
its steps       `batches.py` images, in memory or decoded, augmented · `first_batch.py` what is checked with it ·
                `losses.py` · `updates.py` optimizers, clipping · `schedule.py` learning rates · `evaluations.py`
its memories    `phases.py` which RAM, when · `phase_memories.py` in the model · `parameter_memory.py` `tensor_words.py`
its files       `checkpoint.py` · `identity.py` what makes two trainings the same · `continuation.py` going on ·
                `metrics.py`
what went wrong `finite.py` numbers that are not finite · `explained.py` errors of torch in a step
"""
