"""`minideconv train`: a GAN, from data to a run folder."""
import argparse
import contextlib
import sys

from .arguments import place, text, threads, whole
from .console import say, settle

DESCRIPTION = """\
Train a generator of transposed convolutions against a discriminator of strided convolutions.

The run folder holds sample grids (samples/, training.gif), the losses of every step (losses.csv,
losses.png), the generator and a checkpoint. A healthy discriminator loss wanders a little below
2 ln 2 = 1.386, the value of a discriminator that cannot tell real from fake; it is not supposed to
fall to zero, and the generator's loss says nothing about quality. Look at the samples."""
EXAMPLES = """\
examples:
  minideconv train                          the default: 60,000 digits drawn by a program, 3 epochs
  minideconv train --data mnist --epochs 5  real MNIST, downloaded once
  minideconv train --data mine.npz          your pictures: images (N,H,W[,C]), H and W multiples of 4, at least 8
  minideconv train --resume runs/strokes-1 --epochs 8
                                            train longer; after Ctrl-C or a crash it goes on exactly where it was"""
FIXED = ("preset", "loss", "conditional", "batch_size", "seed", "out")      # what a resumed run keeps


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    from ..gan import LOSSES, PRESETS
    from ..data import SOURCES
    default = PRESETS["default"]
    parser = commands.add_parser("train", help="train a GAN and write a run folder", description=DESCRIPTION,
                                 epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), help=(
        "the settings to begin with (default: default); the other options change them"))
    parser.add_argument("--data", type=text, metavar="DATA", help=(
        f"{', '.join(SOURCES)}, FILE.npz, FILE.npy, or a folder of PNG or JPEG files (default: strokes); "
        "with --resume: where the run's images are now"))
    parser.add_argument("--loss", choices=list(LOSSES), help="ns (default): non-saturating, Goodfellow et al. 2014")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--conditional", action="store_true", default=None,
                        help="tell both networks the label of each image; sample --label D then draws a D")
    labels.add_argument("--unconditional", action="store_false", dest="conditional",
                        help="tell them none, whatever the preset says")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=whole(1), metavar="N", help=(
        "times through the data, in all, a resumed run's past included"))
    length.add_argument("--steps", type=whole(1), metavar="N", help=(
        f"the same in steps (batches; default {default['steps']:,})"))
    parser.add_argument("--batch-size", type=whole(2), metavar="N",
                        help=f"images per step (default {default['batch_size']})")
    parser.add_argument("--seed", type=whole(0), metavar="N",
                        help=f"two runs with one seed are equal to the last bit (default {default['seed']})")
    parser.add_argument("--out", type=place, metavar="RUN", help="the run folder (default runs/DATA-1, -2, ...)")
    parser.add_argument("--resume", type=place, metavar="RUN",
                        help="go on with a run; only --epochs or --steps may change")
    parser.add_argument("--profile", action="store_true", help=(
        "after some steps print where a step's time goes, operation by operation, and train on"))
    parser.add_argument("--checkpoint-every", type=whole(1), metavar="STEPS",
                        help="checkpoint this often besides at each epoch's end")
    threads(parser)
    parser.add_argument("--data-dir", type=place, metavar="DIR", help=(
        "folder of the MNIST files (default: MINIDECONV_DATA, else the user's cache, downloaded once)"))
    parser.set_defaults(run=run)


def run(args) -> int:
    """Begin a run or go on with one, and train it."""
    from ..gan import new_run, resume_run
    length = {"epochs": args.epochs, "steps": args.steps}
    if args.resume is not None:
        fixed = [name for name in FIXED if getattr(args, name) is not None]
        if fixed:
            raise ValueError(f"--{fixed[0].replace('_', '-')} cannot be given with --resume: a run keeps its "
                             "configuration; only --epochs or --steps may change")
        opened = resume_run(args.resume, data=args.data, data_dir=args.data_dir, **length)
    else:
        opened = new_run(args.out, data=args.data, data_dir=args.data_dir,
                         preset=args.preset or "default", conditional=args.conditional, loss=args.loss,
                         batch_size=args.batch_size, seed=args.seed, **length)
    with opened:
        code = train(opened, args.checkpoint_every, args.profile)
    settle()                # a log that is full is no failure of the training
    return code


def train(run, checkpoint_every=None, profile: bool = False) -> int:
    """Train an opened Run, and say how it goes; gives the exit code."""
    from tqdm import tqdm

    from ..profile import profiled
    from ..train.pictures import sample_grids
    from ..train.run import Interrupted
    config = run.config
    say(describe(run))
    if run.steps_done >= config.steps:
        # Draws what an interruption left undrawn.
        run.train(warn=lambda line: say(f"minideconv: {line}", sys.stderr))
        say(f"the run has its {config.steps} steps already: give --epochs or --steps a larger total to train longer")
        return 0
    if run.trainer.loss.meaning:
        say(run.trainer.loss.meaning)
    with tqdm(total=config.steps, initial=run.steps_done, unit="step", disable=None, dynamic_ncols=True) as bar:
        progress = Progress(config, bar)
        try:
            with profiled(run.trainer, progress.show) if profile else contextlib.nullcontext():
                run.train(checkpoint_every, progress, progress.warn)
        except Interrupted as stop:
            bar.close()
            say(f"minideconv: {stop}", sys.stderr)
            return 130
    newest = list(sample_grids(run.folder).values())[-1:] or [run.folder]
    say(f"done: look at {newest[0]}, {run.folder / 'training.gif'} and {run.folder / 'losses.png'}; "
        f"more images: minideconv sample {run.folder} --out new.png")
    return 0


def describe(run) -> str:
    """One line: what is trained on, and where it is written."""
    config = run.config
    classes = ""
    if config.names:
        shown = ", ".join(config.names[:12]) + (", ..." if len(config.names) > 12 else "")
        told = "" if config.classes else "; the networks are not told which"
        classes = f" in {len(config.names)} classes ({shown}{told})"
    size = "x".join(map(str, config.image_shape))
    return (f"{config.count} images of {size}{classes} from {config.data}; {config.steps_per_epoch} steps an epoch; "
            f"writing to {run.folder}")


class Progress:
    """Called after every step: moves the bar, and prints a line at each epoch's end. Nothing that
    it prints can end the training.
    """

    def __init__(self, config, bar):
        self.config, self.bar, self.recent, self.heard = config, bar, [], True

    def __call__(self, step, losses):
        self.recent.append(losses)
        shown = " ".join(f"{name[0].upper()} {losses[name]:.3f}" for name in self._whole(losses))
        self.bar.set_postfix_str(shown, refresh=False)
        self.bar.update()
        if step % self.config.steps_per_epoch == 0 or step == self.config.steps:
            means = [f"{name.removesuffix('_loss')} {sum(one[name] for one in self.recent) / len(self.recent):.3f}"
                     for name in self._whole(losses)]
            self.show(f"epoch {-(-step // self.config.steps_per_epoch)}, step {step}: {', '.join(means)}")
            self.recent.clear()

    @staticmethod
    def _whole(losses):
        """The names of the whole losses; their parts are in losses.csv."""
        return [name for name in losses if name.endswith("_loss")]

    def show(self, line):
        self.bar.clear()
        if not say(line) and self.heard:
            self.heard = False
            say("minideconv: this text cannot be written any more; the training goes on", sys.stderr)

    def warn(self, line):
        self.bar.clear()
        say(f"minideconv: {line}", sys.stderr)
