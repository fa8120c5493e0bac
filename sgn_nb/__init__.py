"The package; what most people want of it is here, too, loaded when it is asked for."
from importlib import import_module

__version__ = "0.1.0"
_HOMES = {'SGNLoss': '.sgn', 'EMA': '.ema', 'SGNClassifier': '.apps.classifier', 'label_report': '.apps.label_report',
          'report_from_probs': '.apps.label_report'}
__all__ = list(_HOMES)

def __getattr__(name):
    if name not in _HOMES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_HOMES[name], __name__), name)

def __dir__(): return [*globals(), *__all__]
