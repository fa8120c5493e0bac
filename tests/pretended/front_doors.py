"Records and classifiers are made on a GPU, too."
from functools import wraps
import pytest
import sgn_nb.apps.classifier as classifier
import sgn_nb.experiments.runner as runner
from device import pretended, unset_fake_temporarily
from sgn_nb.data.examples import from_arrays
from sgn_nb.methods.sgn import SGN
from sgn_nb.spec import Spec
from trainings import K, arrays, pretended_accelerator

def with_true_tensors(function):
    @wraps(function)
    def call(*args, **kwargs):
        with unset_fake_temporarily(): return function(*args, **kwargs)
    return call

@pytest.fixture
def on_cpu(monkeypatch):
    "`on_cpu(owner, *names)`: these functions prepare data and weights before the device is used."
    def replace(owner, *names):
        for name in names:
            monkeypatch.setattr(owner, name, with_true_tensors(getattr(owner, name)))
    return replace

def test_a_run_is_recorded(tmp_path, on_cpu, monkeypatch):
    "With examples to follow; the record says where it was made."
    on_cpu(runner, 'prepare', 'fingerprints', 'make_method', 'run_flops', 'watched_ids')
    monkeypatch.setattr(runner, 'make_accelerator', pretended_accelerator)
    x, y = arrays(72)
    data = from_arrays(x[:60], y[:60], x[60:], y[60:], true=y[:60], K=K, name='noise')
    spec = Spec(dataset='noise', method='sgn', net='fast_cnn', epochs=2, batch=16, watch=3,
                val_share=.2, precision='bf16')
    with pretended() as audit: record = runner.run(spec, tmp_path, 'cuda', data=data)
    assert not audit.tally.mixed
    assert 'pretended' in record.env['device']
    assert len(record.curve) == 2 and len(record.curve[-1]['watch/ema']) == 3
    with pretended(): assert runner.run(spec, tmp_path, 'cuda', data=data).id == record.id

@pytest.mark.parametrize('val_share', [0., .25])
def test_a_classifier_is_fitted(val_share, on_cpu, monkeypatch):
    "And votes on every label, those that it was not trained on among them."
    on_cpu(classifier, 'fingerprints', 'as_labels', '_split')
    on_cpu(classifier.SGNClassifier, '_data', '_inputs')
    on_cpu(SGN, '__init__')
    monkeypatch.setattr(classifier, 'make_accelerator', pretended_accelerator)
    x, y = arrays(48)
    clf = classifier.SGNClassifier(epochs=2, batch=16, device='cuda', precision='bf16',
                                   val_share=val_share)
    with pretended() as audit: clf.fit(x.numpy(), y.numpy())
    assert not audit.tally.mixed
