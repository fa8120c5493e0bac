"The package; what most people want of it is here, too, loaded when it is asked for."

__version__ = "0.1.0"

def __getattr__(name):
    if name == 'SGNLoss': from .sgn import SGNLoss as value
    elif name == 'EMA': from .ema import EMA as value
    elif name == 'SGNClassifier': from .apps.classifier import SGNClassifier as value
    elif name == 'label_report': from .apps.label_report import label_report as value
    else: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return value
