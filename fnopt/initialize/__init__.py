"""How parameters begin: initializers, what is wrong with a start, weights learnt before."""

from fnopt.initialize import layout as layout
from fnopt.initialize.diagnose import diagnose as diagnose
from fnopt.initialize.diagnosis import Diagnosis as Diagnosis
from fnopt.initialize.faults import Fault as Fault
from fnopt.initialize.fine_tuning import discriminative as discriminative
from fnopt.initialize.fine_tuning import unfreeze_gradually as unfreeze_gradually
from fnopt.initialize.layerwise import Pretrained as Pretrained
from fnopt.initialize.layerwise import pretrain_layerwise as pretrain_layerwise
from fnopt.initialize.lsuv import lsuv as lsuv
from fnopt.initialize.pretrained import load_pretrained as load_pretrained
from fnopt.initialize.report import PretrainedReport as PretrainedReport
from fnopt.initialize.save import save_pretrained as save_pretrained
