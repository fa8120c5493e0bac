"""A training step of the authors' kind in TensorFlow, taking turns with ours:
records/speed/tensorflow.json.

TensorFlow is no part of this project. It needs a virtual environment of its own:

    python -m venv ../tf && ../tf/bin/pip install tensorflow-cpu
    python tools/beside_tensorflow.py ../tf/bin/python
"""
import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BATCH, K = 128, 10
GAMMA, ALPHA, BETA = .001, .995, .9999
NET = 'wrn28_2'


# In TensorFlow's process

def keras_wrn(n_out, n=4, width=2):
    "WRN-28-2 in Keras, layer by layer as `sgn_nb.nets.wrn`, the decay of weights in the loss."
    from keras import Input, Model
    from keras import layers as L
    from keras.regularizers import L2
    def decay(): return L2(2.5e-4)
    def conv(x, channels, kernel, stride=1):
        layer = L.Conv2D(channels, kernel, stride, 'same', use_bias=False,
                         kernel_initializer='he_normal', kernel_regularizer=decay())
        return layer(x)
    def norm(x):
        layer = L.BatchNormalization(momentum=.9, epsilon=1e-5, beta_regularizer=decay(),
                                     gamma_regularizer=decay())
        return L.ReLU()(layer(x))
    def block(x, channels, stride):
        out = conv(norm(conv(norm(x), channels, 3, stride)), channels, 3)
        fits = x.shape[-1] == channels and stride == 1
        return L.Add()([out, x if fits else conv(x, channels, 1, stride)])

    inputs = Input((32, 32, 3))
    x = conv(inputs, 16, 3)
    for channels, first in (16*width, 1), (32*width, 2), (64*width, 2):
        for stride in (first, *[1]*(n-1)): x = block(x, channels, stride)
    x = L.GlobalAveragePooling2D()(norm(x))
    out = L.Dense(n_out, kernel_regularizer=decay(), bias_regularizer=decay())(x)
    return Model(inputs, out)

def log_ratio_targets(y):
    "The targets of SGN, `[b, K-1]`: smoothed labels times the Helmert basis."
    import numpy as np
    import tensorflow as tf
    def entry(i, j): return (1 if j < i else -i if j == i else 0)/(i*(i+1))**.5
    helmert = np.array([[entry(i, j) for j in range(K)] for i in range(1, K)], 'float32')
    smooth = np.full((K, K), GAMMA/K, 'float32') + (1-GAMMA)*np.eye(K, dtype='float32')
    return tf.gather(np.log(smooth) @ helmert.T, y)

def sgn_loss(out, mu_ema, t):
    "SGN's loss in epoch 3, from the network's output and the averaged network's mean."
    import tensorflow as tf
    mu, r = tf.split(out, 2, -1)
    d = t - mu - (1-ALPHA**3.)*(t-mu_ema)
    rr = tf.reduce_sum(r*r, -1, keepdims=True)
    e = d - r*tf.reduce_sum(r*d, -1, keepdims=True)/(1+rr)
    return tf.reduce_mean(.5*tf.reduce_sum(e*e, -1) + tf.math.log1p(rr[:, 0]))

def keras_step(method, threads):
    "A training step, compiled into a graph as the authors' are, and the number of weights."
    import keras
    import numpy as np
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    net = keras_wrn(outputs(method))
    optimiser = keras.optimizers.SGD(.01, momentum=.9, nesterov=True)
    ema = keras.models.clone_model(net)
    ema.set_weights(net.get_weights())
    x = tf.random.uniform((BATCH, 32, 32, 3))
    y = tf.range(BATCH) % K
    t = log_ratio_targets(y)

    def ce():
        out = net(x, training=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, out))

    def sgn():
        out = net(x, training=True)
        mu_ema = tf.stop_gradient(ema(x, training=True)[:, :K-1])
        return sgn_loss(out, mu_ema, t)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = (ce() if method == 'ce' else sgn()) + tf.add_n(net.losses)
        weights = net.trainable_variables
        optimiser.apply_gradients(zip(tape.gradient(loss, weights), weights))
        if method == 'sgn':
            for e, v in zip(ema.trainable_variables, weights): e.assign(BETA*e + (1-BETA)*v)
        return loss
    return step, sum(int(np.prod(v.shape)) for v in net.trainable_variables)

def serve(method, threads):
    "For each line that arrives take a step, and answer with the loss."
    step, weights = keras_step(method, threads)
    print(weights, version('tensorflow-cpu'), flush=True)
    for _ in sys.stdin: print(float(step()), flush=True)


# In ours

def outputs(method):
    "The width of the last layer."
    return K if method == 'ce' else 2*(K-1)

class KerasProcess:
    "A process with TensorFlow that takes a step when it is called."
    def __init__(self, python, method, threads):
        command = [python, __file__, '--serve', method, str(threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe,
                                        stderr=subprocess.DEVNULL, text=True)
        weights, self.version = self.process.stdout.readline().split()
        self.weights = int(weights)

    def __call__(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

def check_equal(method, keras_weights):
    "Both networks have as many weights."
    from sgn_nb.nets import net_maker
    net = net_maker(NET, (3, 32, 32))(outputs(method))
    weights = sum(w.numel() for w in net.parameters())
    if keras_weights != weights:
        raise ValueError(f'the networks must be equal, got {keras_weights} and {weights} weights')

def compare(method, args):
    "Medians of TensorFlow's steps and of ours, in two precisions; which TensorFlow it was."
    import torch
    from sgn_nb.bench import interleaved_times, step_job
    keras = KerasProcess(args.python, method, torch.get_num_threads())
    check_equal(method, keras.weights)
    jobs = {'TensorFlow, fp32': keras}
    jobs |= {f'ours, {p}': step_job(method, NET, BATCH, p) for p in ('fp32', 'bf16')}
    times = interleaved_times(jobs, args.rounds)
    keras.process.terminate()
    return times, keras.version

def measure(args):
    "The record: steps of both methods, first with memory given back, then with memory kept."
    from sgn_nb.base.parallel import keep_memory
    from sgn_nb.experiments.records import environment, rounded
    load = [os.getloadavg()[0]]
    steps = {}
    for memory in 'given back', 'kept':
        if memory == 'kept': keep_memory()  # as the commands do; there is no way back
        steps[memory] = {}
        for method in 'ce', 'sgn': steps[memory][method], tensorflow = compare(method, args)
    load.append(os.getloadavg()[0])
    setup = {'what': 'beside tensorflow', 'net': NET, 'batch': BATCH, 'rounds': args.rounds}
    return setup | {'steps': rounded(steps), 'load': [round(o, 2) for o in load],
                    'tensorflow': tensorflow, 'env': environment('cpu', {})}

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('python', nargs='?', help='of an environment with TensorFlow')
    p.add_argument('--rounds', type=int, default=7)
    # Method and threads: what `KerasProcess` starts.
    p.add_argument('--serve', nargs=2, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve: return serve(args.serve[0], int(args.serve[1]))
    if not args.python: p.error('the Python of an environment with TensorFlow is missing')
    from sgn_nb.base.files import atomic_write
    record = measure(args)
    with atomic_write(ROOT/'records/speed/tensorflow.json') as tmp:
        tmp.write_text(json.dumps(record, indent=1) + '\n')
    print(json.dumps(record['steps'], indent=1))

if __name__ == '__main__': main()
