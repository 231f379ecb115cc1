"""What computes the steps: DeepSpeed or plain torch, with one optimizer, behind one interface."""
