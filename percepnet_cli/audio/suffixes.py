"""The extensions of sound files: what is written, what only ffmpeg reads, what is looked for in folders."""

from __future__ import annotations

CONTAINERS = {
    ".wav": "WAV", ".wave": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG",
    ".mp3": "MP3", ".aiff": "AIFF", ".aif": "AIFF", ".aifc": "AIFF", ".caf": "CAF", ".au": "AU",
    ".snd": "AU", ".w64": "W64", ".rf64": "RF64", ".bwf": "WAV", ".amb": "WAV",
}  # fmt: skip
"""What is written for an extension, by soundfile's names."""

FFMPEG_CONTAINERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".m4a": "ipod", ".m4b": "ipod",
    ".mka": "matroska", ".aac": "adts", ".wma": "asf",
}  # fmt: skip
"""What ffmpeg writes for an extension, by its own names."""

OGG_SUFFIXES = {".ogg", ".oga"}
"""Extensions of what holds Vorbis, Opus, or FLAC; the last is written by ffmpeg alone."""

ID3_SUFFIXES = {".aac"}
"""Extensions of what ffmpeg writes without tags, and what takes those of an MP3 before its frames."""

FREEFORM_SUFFIXES = {".m4a", ".m4b"}
"""Extensions of what holds texts of any name beside those that ffmpeg writes."""

FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mka")
"""Extensions of what holds several tracks of sound."""

FFMPEG_SUFFIXES = {
    ".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dts", ".eac3", ".flv", ".m4a", ".m4b", ".m4v", ".mka", ".mkv",
    ".mov", ".mp2", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".tta", ".webm", ".wma", ".wmv", ".wv",
}  # fmt: skip
"""Extensions of what only ffmpeg reads."""

SOUND_SUFFIXES = {
    *CONTAINERS, *FFMPEG_SUFFIXES, ".avr", ".htk", ".nist", ".paf", ".sf", ".sph", ".voc", ".wve",
}  # fmt: skip
"""Extensions of what is taken from a folder."""
