"""A training step of the authors' kind in TensorFlow, taking turns with ours: records/speed/tensorflow.json.

TensorFlow is no part of this project. It needs a virtual environment of its own:

    python -m venv ../tf && ../tf/bin/pip install tensorflow-cpu
    python tools/beside_tensorflow.py ../tf/bin/python
"""
import argparse, json, os, subprocess, sys
from importlib.metadata import version
from pathlib import Path

ROOT, BATCH, K, GAMMA, ALPHA, BETA = Path(__file__).resolve().parent.parent, 128, 10, .001, .995, .9999

def keras_wrn(n_out, n=4, width=2):
    "WRN-28-2 in Keras, layer by layer as `sgn_nb.nets.wrn`, the decay of weights in the loss."
    from keras import Input, Model, layers as L
    from keras.regularizers import L2
    decay = lambda: L2(2.5e-4)
    conv = lambda x, co, k, stride=1: L.Conv2D(co, k, stride, 'same', use_bias=False, kernel_initializer='he_normal', kernel_regularizer=decay())(x)
    norm = lambda x: L.ReLU()(L.BatchNormalization(momentum=.9, epsilon=1e-5, beta_regularizer=decay(), gamma_regularizer=decay())(x))
    inputs = Input((32, 32, 3))
    x = conv(inputs, 16, 3)
    for co, first in ((16*width, 1), (32*width, 2), (64*width, 2)):
        for stride in (first, *[1]*(n-1)):
            out = conv(norm(conv(norm(x), co, 3, stride)), co, 3)
            x = L.Add()([out, x if x.shape[-1] == co and stride == 1 else conv(x, co, 1, stride)])
    x = L.GlobalAveragePooling2D()(norm(x))
    return Model(inputs, L.Dense(n_out, kernel_regularizer=decay(), bias_regularizer=decay())(x))

def keras_step(method, threads):
    "A training step, compiled into a graph as the authors' are, and the number of trained weights."
    import keras, numpy as np, tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    net, optimiser = keras_wrn(K if method == 'ce' else 2*(K-1)), keras.optimizers.SGD(.01, momentum=.9, nesterov=True)
    ema = keras.models.clone_model(net); ema.set_weights(net.get_weights())
    x, y = tf.random.uniform((BATCH, 32, 32, 3)), tf.range(BATCH) % K
    helmert = np.array([[(1 if j < i else -i if j == i else 0)/(i*(i+1))**.5 for j in range(K)] for i in range(1, K)], 'float32')
    t = tf.gather(np.log(np.full((K, K), GAMMA/K, 'float32') + (1-GAMMA)*np.eye(K, dtype='float32')) @ helmert.T, y)

    def ce(): return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, net(x, training=True)))

    def sgn():
        mu, r = tf.split(net(x, training=True), 2, -1)
        mu_ema = tf.stop_gradient(ema(x, training=True)[:, :K-1])
        d, rr = t - mu - (1-ALPHA**3.)*(t-mu_ema), tf.reduce_sum(r*r, -1, keepdims=True)
        e = d - r*tf.reduce_sum(r*d, -1, keepdims=True)/(1+rr)
        return tf.reduce_mean(.5*tf.reduce_sum(e*e, -1) + tf.math.log1p(rr[:, 0]))

    @tf.function
    def step():
        with tf.GradientTape() as tape: loss = (ce() if method == 'ce' else sgn()) + tf.add_n(net.losses)
        optimiser.apply_gradients(zip(tape.gradient(loss, net.trainable_variables), net.trainable_variables))
        if method == 'sgn':
            for e, v in zip(ema.trainable_variables, net.trainable_variables): e.assign(BETA*e + (1-BETA)*v)
        return loss
    return step, sum(int(np.prod(v.shape)) for v in net.trainable_variables)

def serve(method, threads):
    "For each line that arrives take a step, and answer with the loss."
    step, weights = keras_step(method, threads)
    print(weights, version('tensorflow-cpu'), flush=True)
    for _ in sys.stdin: print(float(step()), flush=True)

class Theirs:
    "A process with TensorFlow that takes a step when it is called."
    def __init__(self, python, method, threads):
        self.process = subprocess.Popen([python, __file__, '--serve', method, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        weights, self.version = self.process.stdout.readline().split()
        self.weights = int(weights)
    def __call__(self):
        self.process.stdin.write('\n'); self.process.stdin.flush()
        return float(self.process.stdout.readline())

def turns(method, args):
    "Medians of TensorFlow's steps and of ours, in two precisions; which TensorFlow it was."
    import torch
    from sgn_nb.nets import net_maker
    from sgn_nb.bench import interleaved_times, step_job
    theirs = Theirs(args.python, method, torch.get_num_threads())
    ours = sum(w.numel() for w in net_maker('wrn28_2', (3, 32, 32))(K if method == 'ce' else 2*(K-1)).parameters())
    if theirs.weights != ours: raise ValueError(f'the networks must be equal, got {theirs.weights} and {ours} weights')
    took = interleaved_times({'TensorFlow, fp32': theirs, **{f'ours, {p}': step_job(method, 'wrn28_2', BATCH, p) for p in ('fp32', 'bf16')}}, args.rounds)
    theirs.process.terminate()
    return took, theirs.version

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('python', nargs='?', help='of an environment with TensorFlow')
    p.add_argument('--rounds', type=int, default=7)
    p.add_argument('--serve', nargs=2, help=argparse.SUPPRESS)  # method, threads: what `Theirs` starts
    args = p.parse_args()
    if args.serve: return serve(args.serve[0], int(args.serve[1]))
    if not args.python: p.error('the Python of an environment with TensorFlow is missing')
    from sgn_nb.base.parallel import keep_memory
    from sgn_nb.base.files import atomic_write
    from sgn_nb.experiments.records import environment, rounded
    load, found = [os.getloadavg()[0]], {}
    for memory in ('given back', 'kept'):
        if memory == 'kept': keep_memory()  # as the commands do; there is no way back
        found[memory] = {}
        for method in ('ce', 'sgn'): found[memory][method], tensorflow = turns(method, args)
    record = {'what': 'beside tensorflow', 'net': 'wrn28_2', 'batch': BATCH, 'rounds': args.rounds, 'steps': rounded(found), 'load': [round(o, 2) for o in (*load, os.getloadavg()[0])], 'tensorflow': tensorflow, 'env': environment('cpu', {})}
    with atomic_write(ROOT/'records/speed/tensorflow.json') as tmp: tmp.write_text(json.dumps(record, indent=1) + '\n')
    print(json.dumps(record['steps'], indent=1))

if __name__ == '__main__': main()
