"""Training: on images, in memories of parameters and of bits.

the loop        `loop.py` `run.py` `state.py` · `config.py` · `schedule.py` learning rates · `result.py` ·
                `processes.py` several processes
its memories    `phases.py` which RAM, when · `phase_memories.py` in the model · `parameter_memory.py` `tensor_words.py`
its files       `checkpoint.py` · `identity.py` what makes two trainings the same · `metrics.py`
what went wrong `finite.py` numbers that are not finite
"""
