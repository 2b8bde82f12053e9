"""`minideconv train`: a GAN, from data to a run folder."""
import argparse
import contextlib
import sys

from .arguments import place, real, text, threads, whole
from .console import say, settle

DESCRIPTION = """\
Train a generator of transposed convolutions against a discriminator of strided convolutions.

The run folder holds sample grids (samples/, training.gif), the losses of every step (losses.csv,
losses.png), the generator and a checkpoint. A healthy discriminator loss wanders a little below
2 ln 2 = 1.386, the value of a discriminator that cannot tell real from fake; it is not supposed to
fall to zero, and the generator's loss says nothing about quality. Look at the samples."""
EXAMPLES = """\
examples:
  minideconv train                          the default: 60,000 digits drawn by a program, a few minutes
  minideconv train --data mnist             real MNIST, downloaded once
  minideconv train --preset ring            points in the plane, and how many of 8 modes are found
  minideconv train --data mine.npz          your pictures: images (N,H,W[,C]), H and W multiples of 4, at least 8
  minideconv train --resume runs/strokes-1 --steps 9000
                                            train longer; after Ctrl-C or a crash it goes on exactly where it was"""
# What a resumed run keeps, besides RECIPE.
FIXED = ("preset", "loss", "penalty", "networks", "conditional", "batch_size", "seed", "out")
RECIPE = {              # settings of Config by the option's name: (kind, metavar, help)
    "penalty_weight": (real(0), "W", "gamma of R1 and R2, lambda of WGAN-GP (default: 1, of WGAN-GP 10)"),
    "penalty_end": (real(0), "W", "what it falls to as the rate falls to zero (default: it stays)"),
    "penalty_every": (whole(1), "K", "the penalty in every K-th step, K times as much (default {})"),
    "packing": (whole(1), "K", "samples that D judges together, PacGAN; unconditional runs (default {})"),
    "shift": (whole(0), "PIXELS", "move real and fake images by up to so many (default {})"),
    "blur": (real(0), "SIGMA", "blur the real images by so many pixels: G learns smoother ones (default {:g})"),
    "smoothing": (real(0, 0.99), "S", "D's target for real images is 1 - S (default {:g})"),
    "learning_rate": (real(0), "RATE", "of Adam, for both networks (default {:g})"),
    "beta1": (real(0, 0.99999), "B", "Adam's memory of gradients (default {:g})"),
    "beta2": (real(0, 0.99999), "B", "Adam's memory of their squares (default {:g})"),
    "weight_decay": (real(0), "L2", "added to the gradients (default {:g})"),
    "decay_from": (real(0, 1), "SHARE", "the rate falls after this share of the schedule; 1: never (default {:g})"),
    "decay_to": (whole(1), "STEP", "the schedule's end (default: the preset's, or --steps where that is more)"),
    "average": (real(0, 0.99999), "DECAY", "longest memory of the averaged generator; 0: no average (default {:g})"),
    "latent": (whole(1), "N", "random numbers that an image is made from (default {})"),
    "width": (whole(2), "N", "channels of the layer nearest to the image (default {})"),
}


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    from ..data import SOURCES
    from ..gan import LOSSES, PENALTIES, PRESETS
    from ..gan.networks import NETWORKS
    default = PRESETS["default"]
    parser = commands.add_parser("train", help="train a GAN and write a run folder", description=DESCRIPTION,
                                 epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), help=(
        "the settings to begin with (default: default, of points ring or grid); the other options change them"))
    parser.add_argument("--data", type=text, metavar="DATA", help=(
        f"{', '.join(SOURCES)}, FILE.npz, FILE.npy, or a folder of PNG or JPEG files (default: strokes, or the "
        "preset's); with --resume: where the run's images are now"))
    parser.add_argument("--loss", choices=list(LOSSES), help="ns (default): non-saturating, Goodfellow et al. 2014")
    parser.add_argument("--penalty", choices=list(PENALTIES), help=(
        "what D pays for steep slopes (default r1); spectral normalises its layers instead"))
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--conditional", action="store_true", default=None,
                        help="tell both networks the label of each image; sample --label D then draws a D")
    labels.add_argument("--unconditional", action="store_false", dest="conditional",
                        help="tell them none (the default tells them where the data have labels)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=whole(1), metavar="N", help=(
        "times through the data, in all, a resumed run's past included"))
    length.add_argument("--steps", type=whole(1), metavar="N", help=(
        f"the same in steps (batches; default {default['steps']:,})"))
    parser.add_argument("--batch-size", type=whole(2), metavar="N",
                        help=f"images per step (default {default['batch_size']})")
    parser.add_argument("--seed", type=whole(0), metavar="N",
                        help=f"two runs with one seed are equal to the last bit (default {default['seed']})")
    recipe = parser.add_argument_group("the recipe", "what else a preset decides; the defaults named here are those "
                                                     "of the default preset")
    recipe.add_argument("--networks", choices=list(NETWORKS), help=f"(default {default['networks']})")
    for name, (kind, metavar, words) in RECIPE.items():
        recipe.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar,
                            help=words.format(default.get(name)))
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
    from ..kernels.fast.ahead import compile_ahead
    compile_ahead()                         # in processes beside, while the data are read
    from ..gan import new_run, resume_run
    length = {"epochs": args.epochs, "steps": args.steps}
    if args.resume is not None:
        fixed = [name for name in (*FIXED, *RECIPE) if getattr(args, name) is not None]
        if fixed:
            raise ValueError(f"--{fixed[0].replace('_', '-')} cannot be given with --resume: a run keeps its "
                             "configuration; only --epochs or --steps may change")
        opened = resume_run(args.resume, data=args.data, data_dir=args.data_dir, **length)
    else:
        opened = new_run(args.out, data=args.data, data_dir=args.data_dir,
                         preset=args.preset, conditional=args.conditional, loss=args.loss, penalty=args.penalty,
                         networks=args.networks, batch_size=args.batch_size, seed=args.seed,
                         **{name: getattr(args, name) for name in RECIPE}, **length)
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
    what = "points" if len(config.image_shape) == 1 else "images of " + "x".join(map(str, config.image_shape))
    return (f"{config.count} {what}{classes} from {config.data}; {config.steps_per_epoch} steps an epoch; "
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
