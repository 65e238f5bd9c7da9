"""How good a model is: COCO keypoint figures by pycocotools."""
