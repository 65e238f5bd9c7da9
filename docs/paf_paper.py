# %% [markdown]
# # The PAF paper, step by step
#
# Cao et al., *Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields*, CVPR 2017, on one
# of the sample photos. This page is a script, `docs/paf_paper.py`, which runs from the root of a
# clone; `jupytext --to ipynb docs/paf_paper.py` makes a notebook of it, and editors with cells open
# it as it is.

# %%
import numpy as np
from PIL import Image, ImageDraw

import openpaf
from openpaf.decoding import DecodeConfig, assemble_people, find_peaks, match_limbs, score_limbs
from openpaf.visualization.overlay import heatmaps

PHOTO = "data/photos/pedestrians_576.jpg"
image = openpaf.read_image(PHOTO)
estimator = openpaf.PoseEstimator("fast", engine="torch")
skeleton, config = estimator.spec.skeleton, DecodeConfig()

# %% [markdown]
# ## Fields
#
# The image is resized to the network's input. The network answers with a heatmap for each joint (section 2.2 of the
# paper) and a vector field for each limb (section 2.3), on a grid of 8 px. Where a limb is, its field has the limb's
# direction and a length of about 1; elsewhere it is 0.

# %%
fields = estimator.fields(image)
print("heatmaps", fields.heatmaps.shape, "PAFs", fields.pafs.shape)
letterbox = openpaf.Letterbox.fit(image.shape[:2], 368)
Image.fromarray(heatmaps(image, None, fields, letterbox)).save("paf-paper-fields.jpg", quality=85)

# %% [markdown]
# ![The highest heatmap of each place over the photo](paf-paper-fields.jpg)
#
# ## Peaks
#
# Maxima of a heatmap are candidates for its joint, of any person. Their positions are finer than a cell.

# %%
peaks = find_peaks(fields, config)
for name in ("nose", "left_shoulder", "left_elbow"):
    k = skeleton.index(name)
    print(f"{name:14} {peaks.starts[k + 1] - peaks.starts[k]} peaks")

# %% [markdown]
# ## Candidates
#
# Each pair of peaks that a limb may connect is scored by the line integral of the field along it (equation 10). Pairs of
# two different people cross places without a field, or with one in another direction.

# %%
candidates = score_limbs(fields, peaks, config)
shoulder, elbow = skeleton.index("left_shoulder"), skeleton.index("left_elbow")
limb = next(i for i, pair in enumerate(skeleton.limbs) if set(pair) == {shoulder, elbow})
of_limb = candidates.types == limb
print(of_limb.sum(), "candidates between left shoulders and left elbows; scores:")
print(np.round(np.sort(candidates.scores[of_limb])[::-1], 2))

# %% [markdown]
# ## Matching
#
# A peak belongs to one person, so of each limb the set of pairs with the largest sum is taken in which no peak is used
# twice (equations 12 to 14). openpaf keeps further pairs as fallbacks, for where a limb contradicts a whole person.

# %%
chosen = match_limbs(candidates, DecodeConfig(n_fallbacks=0))
matched = match_limbs(candidates, config)
n_fallbacks = len(matched.types) - len(chosen.types)
print(f"{len(candidates.types)} candidates, {len(chosen.types)} chosen, {n_fallbacks} fallbacks")

# %% [markdown]
# Two people of the photo, with the candidates on the left and the chosen ones on the right. The greener a line, the higher its
# score: those to other people, red, are gone where their peaks have better ones.

# %%
BOX, ZOOM = (110, 310, 330, 576), 2  # px of the photo; side by side
size = np.subtract(BOX[2:], BOX[:2]) * ZOOM
view = Image.new("RGB", (2 * size[0] + 8, size[1]), "white")
for column, limbs in enumerate((candidates, chosen)):
    half = Image.fromarray(image).crop(BOX).resize(tuple(size))
    xy = ((peaks.xy + 0.5) / letterbox.scale_xy - 0.5 - BOX[:2]) * ZOOM
    for pair, score in zip(limbs.peaks, limbs.scores.clip(0, 1), strict=True):
        color = (round(255 * (1 - score)), round(255 * score), 0)
        ImageDraw.Draw(half).line([tuple(end) for end in xy[pair]], fill=color, width=2)
    view.paste(half, (column * (size[0] + 8), 0))
view.save("paf-paper-limbs.jpg", quality=85)

# %% [markdown]
# ![Candidates, and those that are chosen, of two people](paf-paper-limbs.jpg)

# %% [markdown]
# ## People
#
# Limbs that share a peak are of the same person. The best limbs are joined first, and one that would give a person a second
# nose is left out. The last step goes from px of the network's input to px of the image.

# %%
people = assemble_people(peaks, matched, skeleton, config)
same = openpaf.decode(fields, config=config)
assert np.array_equal(people.xy, same.xy, equal_nan=True)  # the same in one compiled call
poses = estimator(image)
shown = poses[poses.person_scores >= 0.5]
print(len(people), "people,", len(shown), "of them with a score of 0.5 or more")
Image.fromarray(openpaf.draw_poses(image, shown)).save("paf-paper-people.jpg", quality=85)

# %% [markdown]
# ![The people of the photo](paf-paper-people.jpg)
#
# `python demos/fields.py data/photos/pedestrians_576.jpg --limb left_shoulder-left_elbow` draws fields and candidates of one
# limb. [Parser](parser.md) has what each step is worth.
