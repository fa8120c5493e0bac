"""The lowest versions that settings.ini allows, as constraints for pip:
`python tools/lowest.py > lowest.txt`."""
import shlex
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    for requirement in shlex.split(config['DEFAULT']['requirements']):
        print(requirement.replace('>=', '=='))

if __name__ == '__main__': main()
