# Every setting is in settings.ini: edit there, not here.
import re, shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

licenses = {'apache2': 'Apache-2.0', 'mit': 'MIT', 'bsd3': 'BSD-3-Clause'}
statuses = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable', '6 - Mature', '7 - Inactive']
pythons = '3.9 3.10 3.11 3.12 3.13'.split()

# A key NAME_requirements becomes the extra NAME: `pip install sgn_nb[NAME]`.
extras = {k[:-len('_requirements')]: shlex.split(v) for k,v in cfg.items() if k.endswith('_requirements')}

# Relative links work on GitHub only: PyPI's page gets absolute ones.
readme = Path('README.md').read_text(encoding='utf-8')
for pat,kind in ((r'(!\[[^\]]*\]\()(?!\w+:|#)', 'raw'), (r'((?<!!)\[[^\]]*\]\()(?!\w+:|#)', 'blob')):
    readme = re.sub(pat, rf"\1{cfg['git_url']}/{kind}/{cfg['branch']}/", readme)

setup(
    name=cfg['lib_name'],
    url=cfg['git_url'],
    project_urls={'Documentation': cfg['doc_host'] + cfg['doc_baseurl'], 'Source': cfg['git_url'],
                  'Changelog': f"{cfg['git_url']}/blob/{cfg['branch']}/CHANGELOG.md"},
    license=licenses[cfg['license']],
    classifiers=[
        f"Development Status :: {statuses[int(cfg['status'])-1]}",
        f"Intended Audience :: {cfg['audience']}",
        'Intended Audience :: Science/Research',
        f"Natural Language :: {cfg['language']}",
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        *(f'Programming Language :: Python :: {v}' for v in pythons[pythons.index(cfg['min_python']):])],
    packages=find_packages(include=[cfg['lib_path'], f"{cfg['lib_path']}.*"]),
    include_package_data=True,
    install_requires=shlex.split(cfg['requirements']),
    extras_require=extras,
    python_requires=f">={cfg['min_python']}",
    long_description=readme,
    long_description_content_type='text/markdown',
    zip_safe=False,
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"]},
    **{k: cfg[k] for k in 'version description keywords author author_email'.split()})
