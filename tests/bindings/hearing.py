"""Whether what was heard is what was said: a correlation in plain Python."""

import array
import math
import operator
import wave

RATE = 4000
"""Hz at which waveforms are compared: the band that carries a voice's pitch and first formant."""
WINDOW = RATE // 2
STEP = RATE // 4
ENVELOPE = RATE // 100
DRIFT = RATE // 16
"""How far a window may lie from where the whole lies: a jitter buffer stretches and shrinks."""


def read(path):
    """The samples of a WAV file of 16 bits, brought to one channel and `RATE`."""
    with wave.open(str(path)) as file:
        channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
        if width != 2 or rate % RATE:
            raise ValueError(f"{path}: {width * 8} bits at {rate} Hz cannot be compared")
        samples = array.array("h", file.readframes(file.getnframes()))
    together = channels * rate // RATE
    return [sum(samples[at : at + together]) / together for at in range(0, len(samples) - together + 1, together)]


def write(path, samples, rate):
    """Writes samples of 16 bits as a WAV file of one channel."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def similarity(spoken, heard):
    """0 (nothing of it) to 1 (the same waveform): what the better fifth of the half-second windows with a voice in them reaches.

    A machine that is busy with something else breaks a window here and there, which tells nothing of the bindings; another voice fits in none.
    """
    shift = _lag(_envelope(spoken), _envelope(heard)) * ENVELOPE
    loud = max((_energy(spoken[at : at + WINDOW]) for at in range(0, len(spoken) - WINDOW, STEP)), default=0)
    found = []
    for at in range(0, len(spoken) - WINDOW, STEP):
        window = spoken[at : at + WINDOW]
        if _energy(window) > loud / 30:
            found.append(_best_match(window, heard, at + shift))
    return sorted(found)[len(found) * 4 // 5] if found else 0.0


def _energy(samples):
    return sum(map(operator.mul, samples, samples))


def _envelope(samples):
    blocks = [math.sqrt(_energy(samples[at : at + ENVELOPE])) for at in range(0, len(samples), ENVELOPE)]
    mean = sum(blocks) / max(len(blocks), 1)
    return [block - mean for block in blocks]


def _lag(spoken, heard):
    """By how many blocks `heard` lies behind `spoken`."""

    def overlap(lag):
        return sum(map(operator.mul, spoken[max(-lag, 0) :], heard[max(lag, 0) :]))

    return max(range(-len(spoken) // 2, len(heard)), key=overlap)


def _best_match(window, heard, around):
    energy = _energy(window)
    best = 0.0
    for start in range(max(around - DRIFT, 0), min(around + DRIFT, len(heard) - len(window))):
        candidate = heard[start : start + len(window)]
        scale = math.sqrt(energy * _energy(candidate))
        if scale > 0:
            best = max(best, sum(map(operator.mul, window, candidate)) / scale)
    return best
