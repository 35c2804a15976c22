"""Do students of classes of pixels deviate where those of whole images do, and does it pay?"""
