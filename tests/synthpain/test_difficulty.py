"""What the corpus was calibrated to, once and for all, without any network.

A logistic regression on the 66 landmarks must neither fail nor find it easy. Landmarks are moved to
their centroid and divided by their root mean square distance from it, frame by frame; each of the
132 coordinates is standardised on the training subjects.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthpain import corpus
from synthpain.behaviour import ALL_OFF, drawn
from synthpain.head import View, landmarks66, project
from synthpain.people import face_vertices
from synthpain.plan import plan_sequences

DEMO = corpus.Settings(2000, 25, seed=0, width=320, height=240, dials=ALL_OFF)


def landmarks(settings):
    """Landmarks (N, 66, 2), PSPI (N,) and subject (N,) of a corpus, without its pictures."""
    who = settings.subjects, settings.seed
    points, pspi, subjects = [], [], []
    for sequence in plan_sequences(settings.frames, *who):
        truth = corpus.sequence_truth(sequence, settings)
        person = corpus.people(*who)[sequence.subject]
        faces = drawn(truth, corpus.temperaments(*who)[sequence.subject].rest).to_dict("records")
        for face, seen in zip(faces, truth[corpus.VIEW].to_dict("records"), strict=True):
            points.append(landmarks66(project(face_vertices(person, face), View(**seen))))
        pspi += truth["coded_pspi"].tolist()
        subjects += [sequence.subject] * sequence.frames
    return np.array(points), np.array(pspi), np.array(subjects)


def leave_one_subject_out_auc(points, pain, subjects):
    shapes = points - points.mean(1, keepdims=True)
    shapes /= np.sqrt((shapes**2).sum(2, keepdims=True).mean(1, keepdims=True))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    how = {"groups": subjects, "cv": LeaveOneGroupOut(), "method": "decision_function"}
    scores = cross_val_predict(model, shapes.reshape(len(shapes), -1), pain, **how)
    return roc_auc_score(pain, scores)


def test_logistic_regression_on_landmarks_finds_the_demo_corpus_neither_hopeless_nor_easy():
    points, pspi, subjects = landmarks(DEMO)
    assert 0.75 <= leave_one_subject_out_auc(points, pspi > 0, subjects) <= 0.85
