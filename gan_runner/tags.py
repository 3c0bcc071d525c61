"""The tags under which a run's numbers, images and texts are logged: one table for who measures, logs and reads.

A tag is a kind and a name, such as "loss/d". docs/dashboard.md says what each means.
"""

from __future__ import annotations

# Kinds, with the names that follow.
LOSS = "loss/"
ACCURACY = "accuracy/"
PROBABILITY = "probability/"
GRAD_NORM = "grad_norm/"
LEARNING_RATE = "learning_rate/"
HEALTH = "health/"  # what alarms look at, and for each alarm whether its symptom is present
METRIC = "metric/"  # what an evaluation measures
SAMPLES = "samples/"
WORTH = "worth/"  # what a classifier scores in each arm of gan-augment, by repetition

# What symptoms are given besides and the log does not show.
JUDGED = "judged/"  # shares in [0, 1] of an evaluation
CLASS_ACCURACY = f"{JUDGED}class_accuracy"  # of images that were drawn by class, recognised as the class asked for
CLASS_ACCURACY_REAL = f"{JUDGED}class_accuracy_real"  # of real images that the extractor has not learned
CLASS_CHANCE = f"{JUDGED}class_chance"  # of images that have nothing to do with their classes
CLASS_ERROR = f"{JUDGED}class_error"  # standard error of the difference between the two accuracies
CLASS_SHARES_OFF = f"{JUDGED}class_shares_off"  # images that are of other classes than the data's shares ask for
CLASS_SPREAD = f"{JUDGED}class_spread"  # variance of features within a class, against real images'; the least
UNTRAINED = "untrained/"  # what the untrained G measured

LOSS_D, LOSS_G = f"{LOSS}d", f"{LOSS}g"
ACCURACY_D = f"{ACCURACY}d"  # over real and generated images, which count alike
ACCURACY_REAL, ACCURACY_FAKE = f"{ACCURACY}d_real", f"{ACCURACY}d_fake"
PROBABILITY_REAL, PROBABILITY_FAKE = f"{PROBABILITY}real", f"{PROBABILITY}fake"  # the means of D(x) and D(G(z))
GRAD_NORM_G = f"{GRAD_NORM}g"
DIVERSITY, REPEATS, DISTANCE = f"{HEALTH}diversity", f"{HEALTH}repeats", f"{HEALTH}distance"
SPEED = "speed/images_per_second"
FIXED, RANDOM, REAL = f"{SAMPLES}fixed", f"{SAMPLES}random", f"{SAMPLES}real"
