# Every setting is in settings.ini: edit there, not here.
import re
import shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
lib, git_url, branch = cfg['lib_path'], cfg['git_url'], cfg['branch']

licenses = {'apache2': 'Apache-2.0', 'mit': 'MIT', 'bsd3': 'BSD-3-Clause'}
statuses = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable',
            '6 - Mature', '7 - Inactive']
pythons = '3.10 3.11 3.12 3.13 3.14'.split()

# A key NAME_requirements becomes the extra NAME: `pip install sgn_nb[NAME]`.
extras = {key.removesuffix('_requirements'): shlex.split(value)
          for key, value in cfg.items() if key.endswith('_requirements')}


def absolute(text):
    "Relative links work on GitHub only: the page of a package gets absolute ones."
    image, link = r'(!\[[^\]]*\]\()(?!\w+:|#)', r'((?<!!)\[[^\]]*\]\()(?!\w+:|#)'
    text = re.sub(image, rf'\1{git_url}/raw/{branch}/', text)
    return re.sub(link, rf'\1{git_url}/blob/{branch}/', text)


setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    keywords=cfg['keywords'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    license=licenses[cfg['license']],
    classifiers=[
        f"Development Status :: {statuses[int(cfg['status'])-1]}",
        f"Intended Audience :: {cfg['audience']}",
        'Intended Audience :: Science/Research',
        f"Natural Language :: {cfg['language']}",
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        *(f'Programming Language :: Python :: {v}'
          for v in pythons[pythons.index(cfg['min_python']):])],
    packages=find_packages(include=[lib, f'{lib}.*']),
    include_package_data=True,
    install_requires=shlex.split(cfg['requirements']),
    extras_require=extras,
    python_requires=f">={cfg['min_python']}",
    long_description=absolute(Path('README.md').read_text(encoding='utf-8')),
    long_description_content_type='text/markdown',
    zip_safe=False,
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f'{lib}={lib}._modidx:d']})
