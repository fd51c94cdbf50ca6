"""Pictures and films of particles: from a picture to grains, from positions to frames, from frames to files.

Nothing is loaded before it is used; Pillow and imageio-ffmpeg come with `pip install 'treedyn[demo]'`.
"""

from treedyn.view._canvas import Ball as Ball
from treedyn.view._canvas import Look as Look
from treedyn.view._canvas import frames as frames
from treedyn.view._canvas import render as render
from treedyn.view._film import write_film as write_film
from treedyn.view._film import write_gif as write_gif
from treedyn.view._film import write_mp4 as write_mp4
from treedyn.view._image import Grains as Grains
from treedyn.view._image import grains as grains
from treedyn.view._picture import side_by_side as side_by_side
from treedyn.view._picture import write_picture as write_picture
