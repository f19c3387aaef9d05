"""Records a command: one module for each way to see its calls, all of one shape (`running.Backend`)."""
