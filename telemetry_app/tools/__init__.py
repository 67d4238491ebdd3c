"""What a worker never needs: embedded servers, simulation, demo, benchmarks."""
