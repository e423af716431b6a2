"""3D registration: every frame as a frontal face, the paper's section 3.2.

A backend (`backends`) turns a picture into a face mesh; one shared path (`frontal`) turns the mesh
to the canonical frontal view, rasterises it and tells what was visible. `register` does so for a
corpus, into a frame store; `register_file` for a reader's own photograph or video.
"""

from paincore.registration.pipeline import register, registered, states_table
from paincore.registration.video import read_video, register_file

__all__ = ["read_video", "register", "register_file", "registered", "states_table"]
